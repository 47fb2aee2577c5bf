"""The tables of a report: arms, and their comparison in pairs, as data for every format."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from experiments.numbers import between, span
from experiments.report.arms import Arm, Section, show_value
from experiments.report.statistics import (
    Estimate,
    chance_of_difference,
    chance_of_sooner,
    mean,
    median_time,
    probability_of_improvement,
    probability_of_sooner,
)

GOAL = "solved"
# With more arms than this, only the best is compared, with as many of the next as MOST_PAIRS.
ALL_PAIRS = 6
MOST_PAIRS = 10
# With more values of a field than this, their range is told.
MOST_VALUES = 8


class Cell(NamedTuple):
    """A value, and what stands below or behind it in a smaller place."""

    main: str
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a title; the first column names the row."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]


def arms_table(section: Section) -> Table:
    """For every arm: seeds that are solved and that diverged, updates to solve, the test metric."""
    columns = ["arm", "solved", "updates to solve", f"test {section.metric}"]
    rows = [
        [Cell(f"{arm.key}  {arm.name}"), _solved(arm), _time(arm), _metric(arm, section.metric)]
        for arm in section.arms
    ]
    return Table(section.title, columns, rows)


def pairs_table(section: Section) -> Table | None:
    """For pairs of arms, the probability that a seed of the one is better; None for one arm."""
    arms, metric = section.arms, section.metric
    if len(arms) < 2:
        return None
    title = "probability that a seed of the first arm is better than one of the second"
    pairs = list(itertools.combinations(arms, 2))
    if len(arms) > ALL_PAIRS:
        best, *others = best_first(section)
        pairs = [(best, other) for other in others[:MOST_PAIRS]]
        title += "; the best arm against the next ones"
    better = f"{'lower' if section.lower else 'higher'} test {metric}"
    rows = [
        [Cell(f"{a.key} over {b.key}"), _sooner(a, b), _better(a, b, section)] for a, b in pairs
    ]
    return Table(title, ["pair", "solves sooner", better], rows)


def best_first(section: Section) -> list[Arm]:
    """The arms by the mean of the test metric; without any, by the median time."""

    def rank(arm: Arm) -> tuple[float, float]:
        values = arm.compared(section.metric, section.lower)
        reached = median_time(arm.times_to(GOAL)).value
        return (sum(values) / len(values) if values else math.inf, reached)

    return sorted(section.arms, key=rank)


def notes(section: Section) -> list[str]:
    """What differs between the arms, the baselines, and what a reader must know of the runs."""
    found = [_differing(section)]
    if section.pooled:
        several = [f"{field} ({_values(values)})" for field, values in section.pooled.items()]
        found.append(f"Runs that differ in {', '.join(several)} are one arm.")
    if section.metric == section.task.metric:
        baselines: dict[str, list[float]] = {}
        for arm in section.arms:
            for run in arm.runs:
                for name, value in run.baselines.items():
                    baselines.setdefault(name, []).append(value)
        shown = [f"{name}: {between(values)}" for name, values in baselines.items()]
        if shown:
            found.append(f"Baselines of {section.metric}: {', '.join(shown)}.")
    for arm in section.arms:
        for run in arm.runs:
            if run.summary is None:
                at = span([seed.updates for seed in run.seeds])
                budget = run.config.train.updates
                found.append(f"{arm.key}: {run.path} is not finished: {at} of {budget:,} updates.")
    for arm in section.arms:
        lost: dict[Path, list[str]] = {}
        for seed in arm.seeds:
            if seed.diverged_at is not None:
                text = f"seed {seed.seed} at update {seed.diverged_at:,}"
                lost.setdefault(seed.run, []).append(text)
        found += [f"{arm.key}: diverged in {run}: {', '.join(s)}." for run, s in lost.items()]
    found += section.repeated
    single = [arm.key for arm in section.arms if len(arm.seeds) == 1]
    if single:
        found.append(f"One seed has no interval: {', '.join(single)}.")
    return found


def explanation(sections: Sequence[Section]) -> str:
    """What the numbers of the tables are."""
    text = (
        "Updates to solve: the median by Kaplan-Meier; a seed that is not solved counts as unsolved"
        " up to its last update. Ranges: 95% bootstrap intervals over seeds."
    )
    if any(len(section.arms) > 1 for section in sections):
        text += " p: the chance of such a difference between equal arms."
    return text


def _differing(section: Section) -> str:
    if not section.fields or len(section.arms) == 1:
        seeds = span([len(arm.seeds) for arm in section.arms])
        return f"One config, {seeds} {'seed' if seeds == '1' else 'seeds'}."
    parts = []
    for field in section.fields:
        keys: dict[str, list[str]] = {}
        for arm in section.arms:
            keys.setdefault(show_value(arm.values[field]), []).append(arm.key)
        values = [f"{value} ({_keys(names)})" for value, names in keys.items()]
        if len(values) > MOST_VALUES:
            values = [f"{len(values)} values, {next(iter(keys))} to {next(reversed(keys))}"]
        parts.append(f"{field}: {', '.join(values)}")
    return f"The configs differ in {'; in '.join(parts)}. All other fields are equal."


def _keys(keys: Sequence[str]) -> str:
    return ", ".join(keys) if len(keys) <= MOST_VALUES else f"{len(keys)} arms"


def _values(values: Sequence[object]) -> str:
    return ", ".join(map(show_value, values))


def _solved(arm: Arm) -> Cell:
    count = sum(seed.reached_at.get(GOAL) is not None for seed in arm.seeds)
    tested = [seed.reached_on_test.get(GOAL) for seed in arm.seeds]
    on_test = sum(map(bool, tested))
    lost = sum(seed.diverged_at is not None for seed in arm.seeds)
    details = [f"{on_test} on test"] if None not in tested and on_test != count else []
    details += [f"{lost} diverged"] if lost else []
    return Cell(f"{count} of {len(arm.seeds)}", ", ".join(details))


def _time(arm: Arm) -> Cell:
    times = arm.times_to(GOAL)
    median = median_time(times)
    main = f"{median.value:,.0f}" if math.isfinite(median.value) else "not reached"
    if median.low is not None and median.high is not None and math.isfinite(median.low):
        end = f"to {median.high:,.0f}" if math.isfinite(median.high) else "or later"
        return Cell(main, f"{median.low:,.0f} {end}")
    return Cell(main, "" if math.isfinite(median.value) else f"in {times.at[-1]:,.0f}")


def _metric(arm: Arm, metric: str) -> Cell:
    values = arm.finite(metric)
    if not values:
        return Cell("none")
    estimate = mean(values)
    detail = _ends(estimate, ".3g")
    if len(values) < len(arm.seeds):
        detail = f"{detail}{', ' if detail else ''}{len(values)} of {len(arm.seeds)} seeds"
    return Cell(f"{estimate.value:.3g}", detail)


def _sooner(a: Arm, b: Arm) -> Cell:
    x, y = a.times_to(GOAL), b.times_to(GOAL)
    if not (x.happened.any() or y.happened.any()):
        return Cell("no seed solved")
    return _probability(probability_of_sooner(x, y), chance_of_sooner(x, y))


def _better(a: Arm, b: Arm, section: Section) -> Cell:
    x, y = (arm.compared(section.metric, section.lower) for arm in (a, b))
    if not (x and y):
        return Cell("not finished")
    return _probability(probability_of_improvement(x, y), chance_of_difference(x, y))


def _probability(estimate: Estimate, chance: float) -> Cell:
    if estimate.low is None:
        return Cell(f"{estimate.value:.2f}")
    shown = f"p {chance:.2g}" if chance >= 0.001 else "p < 0.001"
    # Where all pairs agree, so do all resamples: the interval would say nothing.
    agree = {0.0: "no pair", 1.0: "every pair"}.get(estimate.value)
    return Cell(f"{estimate.value:.2f}", f"{agree or _ends(estimate, '.2f')}, {shown}")


def _ends(estimate: Estimate, form: str) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:{form}} to {estimate.high:{form}}"
