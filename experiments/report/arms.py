"""Arms: runs whose configs are equal but for the seed, named by what differs between them."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from experiments.errors import UserError
from experiments.report.runs import RunResult, SeedResult
from experiments.report.statistics import Times
from experiments.run.summary import describe_task, lower_is_better
from experiments.tasks import Task
from lstm_jax.did_you_mean import did_you_mean, nearest

SEED_FIELDS = ("seed", "seeds")
LONGEST_VALUE = 40


@dataclass(frozen=True)
class Arm:
    """Runs that are compared as one, with the seeds of all of them.

    Attributes:
      key: a letter, for tables.
      name: the fields in which it differs from the other arms, with their values.
      values: these fields by dotted name.
      runs: its runs.
      seeds: the results of all seeds, each once.
    """

    key: str
    name: str
    values: dict[str, Any]
    runs: list[RunResult]
    seeds: list[SeedResult]

    def times_to(self, goal: str) -> Times:
        """Updates until each seed reached a goal on held-out sequences.

        A seed that did not is censored at its last update. One that diverged would never reach it:
        it is censored at the number of updates that its config allows.
        """
        at, reached = [], []
        for seed in self.seeds:
            found = seed.reached_at.get(goal)
            last = seed.updates if seed.diverged_at is None else seed.budget
            at.append(last if found is None else found)
            reached.append(found is not None)
        return Times.of(at, reached)

    def finite(self, metric: str) -> list[float]:
        """The test metric of the seeds that have one and did not diverge."""
        values = [s.test.get(metric, float("nan")) for s in self.seeds if s.diverged_at is None]
        return [value for value in values if abs(value) < float("inf")]

    def compared(self, metric: str, lower: bool) -> list[float]:
        """The test metric of all finished seeds, so that lower is better.

        A seed that diverged is worse than every other one.
        """
        values = []
        for seed in self.seeds:
            if seed.finished:
                value = seed.test.get(metric, float("nan"))
                good = seed.diverged_at is None and abs(value) < float("inf")
                values.append((value if lower else -value) if good else float("inf"))
        return values


@dataclass(frozen=True)
class Section:
    """The arms of one task.

    Attributes:
      arms: the arms, ordered by the fields in which they differ.
      fields: these fields, dotted.
      pooled: fields in which runs of one arm differ, as ``--by`` leaves them out, and their
        values.
      task: the task of the first run; others may have other settings.
      metric: the metric that is compared.
      repeated: seeds that were found in more than one run of an arm, as text.
    """

    arms: list[Arm]
    fields: list[str]
    pooled: dict[str, list[Any]]
    task: Task
    metric: str
    repeated: list[str]

    @property
    def lower(self) -> bool:
        """Whether lower values of the metric are better."""
        return lower_is_better(self.task, self.metric)

    @property
    def seeds(self) -> list[SeedResult]:
        """The seeds of all arms."""
        return [seed for arm in self.arms for seed in arm.seeds]

    @property
    def title(self) -> str:
        """The task, with the settings that all arms share."""
        if any(field.startswith("task.") for field in [*self.fields, *self.pooled]):
            return self.task.name.rpartition(":")[2]
        return describe_task(self.task)


def make_sections(
    runs: Sequence[RunResult], by: Sequence[str] = (), metric: str | None = None
) -> list[Section]:
    """Group runs by task, and in each task by config.

    Args:
      runs: the runs.
      by: dotted names of the fields that tell arms apart; all fields but the seed if empty.
      metric: the metric to compare; the task's own if None.

    Returns:
      A section for every task, in the order of the runs.

    Raises:
      UserError: if no run has a field of `by`, or the metric.
    """
    values = [run.values for run in runs]
    names = list(dict.fromkeys(name for one in values for name in one if name not in SEED_FIELDS))
    for name in by:
        if name not in names:
            by_tail = {known.rpartition(".")[2]: known for known in names}
            near = nearest(name, [*names, *by_tail])
            hint = f"; did you mean {by_tail.get(near, near)}?" if near else ""
            raise UserError(f"--by {name}: no run has a field of this name{hint}")
    tasks = dict.fromkeys(run.config.task.name for run in runs)
    sections = []
    for task in tasks:
        chosen = [run for run in runs if run.config.task.name == task]
        sections.append(_section(chosen, by))
    if metric is None:
        return sections
    found = [_with_metric(section, metric) for section in sections]
    if not any(found):
        known = sorted({name for section in sections for name in _metrics(section.seeds)})
        hint = did_you_mean(metric, known)
        raise UserError(f"--metric {metric}: must be one of {', '.join(known) or '(none)'}{hint}")
    return [with_it or section for with_it, section in zip(found, sections, strict=True)]


def short_names(fields: Sequence[str]) -> dict[str, str]:
    """The last parts of dotted names, as many as tell them apart; a name is named by its section.

    >>> short_names(["model.hidden_size", "optimizer.name", "task.length", "eval.length"])
    {'model.hidden_size': 'hidden_size', 'optimizer.name': 'optimizer', \
'task.length': 'task.length', 'eval.length': 'eval.length'}
    """
    # "optimizer.name" is called "optimizer".
    called = {field: field.removesuffix(".name") for field in fields}

    def tail(field: str, parts: int) -> str:
        return ".".join(called[field].split(".")[-parts:])

    short = {}
    for field in fields:
        words = called[field].split(".")
        # A number belongs to the list before it.
        numbers = [i for i, word in enumerate(words) if word.isdigit()]
        least = len(words) - numbers[0] + 1 if numbers else 1
        for parts in range(min(least, len(words)), len(words) + 1):
            short[field] = tail(field, parts)
            if all(tail(other, parts) != short[field] for other in fields if other != field):
                break
    return short


def show_value(value: Any, longest: int | None = LONGEST_VALUE) -> str:
    """A value of a config as text, cut after `longest` characters; with all digits if it is None.

    >>> show_value(1e-3), show_value(None), show_value(True), show_value([1, 2])
    ('0.001', 'none', 'true', '[1, 2]')
    """
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return repr(value) if longest is None else f"{value:.4g}"
    text = str(value)
    return text if longest is None or len(text) <= longest else text[: longest - 3] + "..."


def _section(runs: Sequence[RunResult], by: Sequence[str]) -> Section:
    values = [run.values for run in runs]
    differing = _differing(values)
    fields = [name for name in by if any(name in one for one in values)] if by else differing
    pooled = {
        name: list({_key(one.get(name)): one.get(name) for one in values}.values())
        for name in differing
        if name not in fields
    }
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, one in enumerate(values):
        groups.setdefault(tuple(_key(one.get(name)) for name in fields), []).append(i)
    indices = _ordered(list(groups.values()), values, fields)
    names = short_names(fields)
    arms, repeated = [], []
    for key, members in zip(_letters(len(indices)), indices, strict=True):
        seeds, again = _distinct([runs[i] for i in members])
        repeated += [f"{key}: seeds {text}." for text in again]
        settings = {name: values[members[0]].get(name) for name in fields}
        text = ", ".join(f"{names[f]} {show_value(value)}" for f, value in settings.items())
        text = text or describe_task(runs[members[0]].config.task)
        arms.append(Arm(key, text, settings, [runs[i] for i in members], seeds))
    task = runs[0].config.task
    return Section(arms, fields, pooled, task, task.metric, repeated)


def _differing(values: Sequence[dict[str, Any]]) -> list[str]:
    """The fields that differ, without those that only come with the value of another field.

    An optimizer, say, has fields that others lack: they say nothing that its name does not.
    """
    names = [n for n in dict.fromkeys(n for one in values for n in one) if n not in SEED_FIELDS]
    apart = [n for n in names if len({_key(one.get(n)) for one in values}) > 1]
    found = [n for n in apart if len({_key(one[n]) for one in values if n in one}) > 1]
    for name in apart:
        groups: dict[tuple[str, ...], set[str]] = {}
        for one in values:
            group = groups.setdefault(tuple(_key(one.get(n)) for n in found), set())
            group.add(_key(one.get(name)))
        if any(len(group) > 1 for group in groups.values()):
            found.append(name)
    return [name for name in names if name in found]


def _ordered(
    groups: list[list[int]], values: Sequence[dict[str, Any]], fields: Sequence[str]
) -> list[list[int]]:
    """Groups ordered by the values of the fields: numbers by size, others as they come."""

    def rank(name: str) -> dict[str, float]:
        found = list({_key(values[g[0]].get(name)): values[g[0]].get(name) for g in groups}.items())
        if all(value is None or _is_number(value) for _, value in found):
            return {key: float("-inf") if value is None else value for key, value in found}
        return {key: float(i) for i, (key, _) in enumerate(found)}

    ranks = {name: rank(name) for name in fields}
    return sorted(groups, key=lambda g: [ranks[f][_key(values[g[0]].get(f))] for f in fields])


def _distinct(runs: Sequence[RunResult]) -> tuple[list[SeedResult], list[str]]:
    """The seeds of runs, of equal seeds of one config only the one that got farthest."""
    found: dict[tuple[int, str], SeedResult] = {}
    dropped: dict[tuple[Path, Path], list[int]] = {}
    for run in runs:
        config = _config_key(run.values)
        for seed in run.seeds:
            other = found.get((seed.seed, config))
            if other is not None:
                kept = max(other, seed, key=lambda s: (s.finished, s.updates))
                again = seed if kept is other else other
                dropped.setdefault((again.run, kept.run), []).append(seed.seed)
                seed = kept
            found[seed.seed, config] = seed
    repeated = [
        f"{', '.join(map(str, numbers))} of {again} are those of {kept}, and count once"
        for (again, kept), numbers in dropped.items()
    ]
    return list(found.values()), repeated


def _with_metric(section: Section, metric: str) -> Section | None:
    if metric not in _metrics(section.seeds):
        return None
    s = section
    return Section(s.arms, s.fields, s.pooled, s.task, metric, s.repeated)


def _metrics(seeds: Iterable[SeedResult]) -> list[str]:
    return list(dict.fromkeys(name for seed in seeds for name in [*seed.test, *seed.curves]))


def _config_key(values: dict[str, Any]) -> str:
    return _key(sorted((k, _key(v)) for k, v in values.items() if k not in SEED_FIELDS))


def _key(value: Any) -> str:
    """Text that is equal for equal values; 1 and 1.0 are equal, as are none and a missing field."""
    return repr(float(value)) if _is_number(value) else repr(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _letters(count: int) -> list[str]:
    """A, B, ... Z, AA, AB, ..."""
    words = itertools.chain.from_iterable(
        itertools.product(ascii_uppercase, repeat=length) for length in itertools.count(1)
    )
    return ["".join(word) for word in itertools.islice(words, count)]
