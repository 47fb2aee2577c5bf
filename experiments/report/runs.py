"""What a report reads of a run: results of every seed, from its config, metrics and summary."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml
from jaxtyping import Float
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from experiments.config.file import dump_config
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.run.workdir import Workdir
from experiments.tasks import Goal, goals

CONFIG_FILE, SUMMARY_FILE, METRICS_FILE = "config.yaml", "summary.json", "metrics.jsonl"
# In the folder of several points of a sweep that still train together: their seeds differ in more
# than the seed, and each point has a folder of its own when it is finished.
POINTS_FILE = "points.json"
Checked = TypeVar("Checked")


@dataclass(frozen=True)
class SeedResult:
    """The result of one seed of a run.

    Attributes:
      run: the workdir.
      seed: the seed.
      updates: updates done.
      budget: updates that its config allows.
      finished: whether the run is finished; if not, there are no test metrics.
      reached_at: by goal, the first update at which it was reached on held-out sequences, or None.
      reached_on_test: by goal, whether the test metrics reach it, or None if there are none.
      diverged_at: the update at which the seed diverged, or None.
      test: metrics on test sequences by name; nan where there is none.
      curves: metrics on validation sequences by name: updates and values.
    """

    run: Path
    seed: int
    updates: int
    budget: int
    finished: bool
    reached_at: dict[str, int | None]
    reached_on_test: dict[str, bool | None]
    diverged_at: int | None
    test: dict[str, float]
    curves: dict[str, tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]]


@dataclass(frozen=True)
class RunResult:
    """The results of one run.

    Attributes:
      path: the workdir.
      config: its config.
      seeds: the results of its seeds.
      baselines: the task's metric for solutions without memory; empty if it is not finished.
      summary: the content of summary.json, or None if it is not finished.
      values: the values of the config by dotted name; sections in a list are numbered.
    """

    path: Path
    config: Config
    seeds: list[SeedResult]
    baselines: dict[str, float]
    summary: "SummaryRecord | None"
    values: dict[str, Any]


@checked(frozen=True)
class DivergenceRecord:
    """Where a seed diverged."""

    update: int


@checked(frozen=True)
class MetricRecord:
    """A test metric of every seed; None if a seed has none."""

    seeds: list[float | None]


@checked(frozen=True)
class GoalRecord:
    """A goal, and what every seed reached."""

    goal: str
    reached_on_test: list[bool | None]
    first_at_update: list[int | None]


@checked(frozen=True)
class SummaryRecord:
    """The part of summary.json that reports read."""

    command: str
    task: str
    seeds: list[int]
    updates: list[int]
    sequences: list[int]
    metric: str
    seconds: float
    baselines: dict[str, float]
    test: dict[str, MetricRecord]
    goals: dict[str, GoalRecord]
    diverged: list[DivergenceRecord | None] | None = None


@checked(frozen=True)
class UpdateRecord:
    """The part of a line of metrics.jsonl that reports read."""

    update: int
    loss: list[float | None]
    validation: dict[str, list[float | None]] | None = None


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """The workdirs among the paths, and those in the folders below the other paths.

    Args:
      paths: workdirs, and folders that contain workdirs, such as that of a sweep.

    Returns:
      Every workdir once, sorted below each folder. Runs below a folder that have not trained yet
      are left out, as are points of a sweep that are not finished.

    Raises:
      UserError: if a path is neither, or is a run that has not trained yet.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if _has_trained(path):
            runs = [path]
        else:
            runs = [Path(folder) for folder, _, _ in os.walk(path) if _has_trained(Path(folder))]
        if not runs:
            if (path / POINTS_FILE).exists():
                raise UserError(f"{path}: points of a sweep that are not finished")
            if (path / CONFIG_FILE).exists():
                raise UserError(f"{path}: has no results yet: no {METRICS_FILE}, no {SUMMARY_FILE}")
            raise UserError(
                f"{path}: not the folder of a run; it has no {CONFIG_FILE},"
                " nor is there a run in a folder below it"
            )
        for run in sorted(runs):
            found.setdefault(run.resolve(), run)
    return list(found.values())


def read_run(path: Path) -> RunResult:
    """Read the results of a run; one that is not finished has those of its metrics file.

    Raises:
      UserError: if a file cannot be read or was not written by a run.
    """
    workdir = Workdir.existing(path)
    config = workdir.config()
    content = workdir.summary()
    summary = None if content is None else _check(SummaryRecord, content, path / SUMMARY_FILE)
    if summary is not None:
        _check_lengths(summary, path / SUMMARY_FILE)
    try:
        lines = workdir.metrics.read()
    except ValueError:
        raise UserError(f"{path / METRICS_FILE}: cannot be read: not written by a run") from None
    records = [_check(UpdateRecord, line, path / METRICS_FILE) for line in lines]
    count = config.seeds if summary is None else len(summary.seeds)
    for record in records:
        series = {"loss": record.loss, **(record.validation or {})}
        for name, values in series.items():
            if len(values) != count:
                raise UserError(
                    f"{path / METRICS_FILE}: cannot be read: {name} at update {record.update}"
                    f" has {len(values)} values; the run has {count} seeds"
                )
    curves = [_curves(records, i) for i in range(count)]
    if summary is None:
        seeds = [_unfinished(path, config, records, i, curves[i]) for i in range(count)]
        return RunResult(path, config, seeds, {}, None, _values(config))
    seeds = [_finished(path, config, summary, i, curves[i]) for i in range(count)]
    return RunResult(path, config, seeds, summary.baselines, summary, _values(config))


def _has_trained(path: Path) -> bool:
    if not (path / CONFIG_FILE).exists() or (path / POINTS_FILE).exists():
        return False
    return any((path / name).exists() for name in (SUMMARY_FILE, METRICS_FILE))


def _finished(
    path: Path, config: Config, summary: SummaryRecord, i: int, curves: dict[str, Any]
) -> SeedResult:
    diverged = summary.diverged[i] if summary.diverged else None
    return SeedResult(
        run=path,
        seed=summary.seeds[i],
        updates=summary.updates[i],
        budget=config.train.updates,
        finished=True,
        reached_at={name: goal.first_at_update[i] for name, goal in summary.goals.items()},
        reached_on_test={name: goal.reached_on_test[i] for name, goal in summary.goals.items()},
        diverged_at=diverged.update if diverged else None,
        test={name: _number(metric.seeds[i]) for name, metric in summary.test.items()},
        curves=curves,
    )


def _unfinished(
    path: Path, config: Config, records: list[UpdateRecord], i: int, curves: dict[str, Any]
) -> SeedResult:
    reached_at: dict[str, int | None] = {}
    for name, goal in goals(config.task).items():
        reached = [update for update, found in _evaluations(goal, curves) if goal.reached(found)]
        reached_at[name] = int(reached[0]) if reached else None
    trained = [record.update for record in records if record.loss[i] is not None]
    return SeedResult(
        run=path,
        seed=config.seed + i,
        updates=max(trained, default=0),
        budget=config.train.updates,
        finished=False,
        reached_at=reached_at,
        reached_on_test=dict.fromkeys(reached_at),
        diverged_at=None,
        test={},
        curves=curves,
    )


def _evaluations(goal: Goal, curves: dict[str, Any]) -> list[tuple[float, dict[str, float]]]:
    """The updates at which all metrics of a goal are known, with their values."""
    known = {m: dict(zip(*curves.get(m, ((), ())), strict=True)) for m in goal.metrics}
    updates = sorted(set.intersection(*map(set, known.values())))
    return [(update, {m: values[update] for m, values in known.items()}) for update in updates]


def _curves(
    records: list[UpdateRecord], i: int
) -> dict[str, tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]]:
    """Updates and values of seed i by metric, where the seed was evaluated."""
    points: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        for name, values in (record.validation or {}).items():
            if (value := values[i]) is not None:
                points.setdefault(name, []).append((record.update, value))
    return {name: _columns(pairs) for name, pairs in points.items()}


def _columns(
    pairs: list[tuple[int, float]],
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    updates, values = np.array(pairs, np.float64).T
    return updates, values


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _check(kind: type[Checked], content: Any, path: Path) -> Checked:
    """The content of a file as a record.

    Raises:
      UserError: if a field is missing or has another type.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        field = ".".join(map(str, detail["loc"])) or "content"
        message = f"{path}: cannot be read: {field}: {detail['msg'][:100]}; not written by a run"
        raise UserError(message) from None


def _check_lengths(summary: SummaryRecord, path: Path) -> None:
    """Raise if a list does not have one entry for each seed."""
    lists: dict[str, Sequence[Any]] = {"updates": summary.updates, "sequences": summary.sequences}
    lists |= {f"test.{name}.seeds": metric.seeds for name, metric in summary.test.items()}
    for name, goal in summary.goals.items():
        lists[f"goals.{name}.reached_on_test"] = goal.reached_on_test
        lists[f"goals.{name}.first_at_update"] = goal.first_at_update
    if summary.diverged is not None:
        lists["diverged"] = summary.diverged
    for name, values in lists.items():
        if len(values) != len(summary.seeds):
            raise UserError(
                f"{path}: cannot be read: {name} has {len(values)} values;"
                f" the run has {len(summary.seeds)} seeds"
            )
    if not summary.seeds:
        raise UserError(f"{path}: cannot be read: seeds: must have at least one; got none")
    if "solved" not in summary.goals:
        raise UserError(f"{path}: cannot be read: goals.solved: missing")


def _values(config: Config) -> dict[str, Any]:
    """The values of a config by dotted name; sections in a list are numbered."""
    values: dict[str, Any] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, part in value.items():
                add(f"{name}.{key}", part)
        elif isinstance(value, list | tuple) and any(isinstance(part, dict) for part in value):
            for i, part in enumerate(value):
                add(f"{name}.{i}", part)
        else:
            values[name] = value

    for name, value in yaml.safe_load(dump_config(config)).items():
        add(name, value)
    return values
