"""The tables of the results page, as Markdown."""

import math
from collections.abc import Sequence

import numpy as np

from experiments.numbers import between, duration, mean_and_spread, span
from experiments.report.arms import Arm
from experiments.report.markdown import markdown_table
from experiments.report.run_table import machine_of
from experiments.report.statistics import Times, median_time
from experiments.results.declared import Declared
from experiments.results.rows import Row
from experiments.results.verdict import Verdict, goal_text, verdict

COLUMNS = (
    "setting", "arm", "solved", "updates to solve", "sequences to solve", "test result", "goal",
    "time and machine", "command",
)  # fmt: skip
# Seeds that nobody has tried fall outside of the range of a few: it is made wider by this share of
# its width on each side, and by one evaluation at least. For normal or log-normal times, another
# seed is in it with a probability of about 93% after five seeds, and 98% after ten.
WIDER = 0.5
# Fewer seeds say too little of others.
ENOUGH_SEEDS = 5


def rows_table(rows: Sequence[Row]) -> str:
    """A line for every row, in their order."""
    return markdown_table(COLUMNS, [_line(row) for row in rows])


def missed_list(rows: Sequence[Row], without_run: Sequence[tuple[str, Declared]]) -> str:
    """What missed its goal, by how much, and why; and the rows that nobody has run.

    Args:
      rows: rows with runs.
      without_run: names of rows without one, with what is declared of them.
    """
    lines = []
    for row in rows:
        found = verdict(row)
        if found is not None and not found.reached:
            goal = goal_text(row.declared.goal) if row.declared.goal else ""
            text = f"**{row.setting}, {row.arm}**: {'; '.join(found.missed)}. Goal: {goal}."
            lines.append(_with_reason(text, row.declared))
    for _, said in without_run:
        goal = f" Goal: {goal_text(said.goal)}." if said.goal else ""
        lines.append(_with_reason(f"**{said.setting}**: not run.{goal}", said))
    return "\n".join(f"- {line}" for line in lines) or "Every row reached its goal."


def for_a_new_seed(low: int, high: int, step: int) -> tuple[int, int]:
    """The range in which to expect another seed: wider by half of its width on each side.

    Equal times of all seeds are those of one evaluation: the range has the ones beside it as well.

    Args:
      low, high: the range of the seeds that were tried.
      step: updates between two evaluations, the least of all times.

    >>> for_a_new_seed(700, 1300, 100)
    (400, 1600)
    >>> for_a_new_seed(700, 700, 100)
    (600, 800)
    """
    margin = max(WIDER * (high - low), step)
    floor, ceiling = int((low - margin) // step), -int(-(high + margin) // step)
    return max(1, floor) * step, ceiling * step


def updates_text(arm: Arm, times: Times, step: int, per_update: int = 1) -> str:
    """The median time with its interval, the range of the seeds, and that for a new one.

    Args:
      arm: the arm.
      times: updates to solve of its seeds.
      step: updates between two evaluations.
      per_update: what is counted in an update: 1 for updates, or its sequences.
    """
    solved = [seed.reached_at["solved"] for seed in arm.seeds]
    known = [at * per_update for at in solved if at is not None]
    median = median_time(times)
    if not math.isfinite(median.value):
        lines = [f"not reached in {times.at[-1] * per_update:,.0f}"]
    else:
        lines = [
            f"{median.value * per_update:,.0f}{_interval(median.low, median.high, per_update)}"
        ]
    if len(known) > 1:
        lines.append(f"seeds {span(known)}")
    if ENOUGH_SEEDS <= len(known) == len(arm.seeds):
        low, high = for_a_new_seed(min(known), max(known), step * per_update)
        lines.append(f"a new seed {low:,} to {high:,}")
    return "\n".join(lines)


def _line(row: Row) -> tuple[str, ...]:
    arm, train = row.result, row.config.train
    count = len(arm.seeds)
    solved = sum(seed.reached_at["solved"] is not None for seed in arm.seeds)
    on_test = sum(bool(seed.reached_on_test["solved"]) for seed in arm.seeds)
    lost = sum(seed.diverged_at is not None for seed in arm.seeds)
    seeds = [f"{solved} of {count}", f"{on_test} on test" if on_test != solved else ""]
    if any("mastered" in seed.reached_on_test for seed in arm.seeds):
        mastered = sum(bool(seed.reached_on_test.get("mastered")) for seed in arm.seeds)
        seeds.append(f"mastered {mastered} on test")
    seeds.append(f"{lost} diverged" if lost else "")
    times = row.times()
    found = verdict(row)
    goal = "" if row.declared.goal is None else f"{goal_text(row.declared.goal)}\n{_short(found)}"
    return (
        row.setting,
        row.arm,
        "\n".join(filter(None, seeds)),
        updates_text(arm, times, train.eval_every),
        updates_text(arm, times, train.eval_every, row.sequences_per_update),
        _test(row),
        goal,
        "\n".join(_times_and_machines(row)),
        "\n".join(f"`{run.summary.command}`" for run in arm.runs if run.summary is not None),
    )


def _short(found: Verdict | None) -> str:
    if found is None:
        return ""
    return "**reached**" if found.reached else f"**missed**: {found.missed[0]}"


def _test(row: Row) -> str:
    names = list(dict.fromkeys(name for seed in row.seeds for name in seed.test))
    lines = []
    for name in names:
        values = row.result.finite(name)
        lines.append(f"{name} {mean_and_spread(values) if values else 'none'}")
    for at in row.declared.goal.at if row.declared.goal else ():
        measured = row.at_lengths.get(at.metric, {}).get(at.length)
        if measured:
            shown = f"{np.median(measured):.4g} ({between(measured)})"
            lines.append(f"{at.metric} {shown} at length {at.length:,}")
    return "\n".join(lines)


def _times_and_machines(row: Row) -> list[str]:
    lines = []
    for run in row.result.runs:
        if run.summary is not None:
            seeds = len(run.summary.seeds)
            together = f", {seeds} seeds together" if seeds > 1 else ""
            lines.append(f"{duration(run.summary.seconds)}{together}; {machine_of(run.path)}")
    return list(dict.fromkeys(lines))


def _interval(low: float | None, high: float | None, per_update: int) -> str:
    if low is None or high is None or not math.isfinite(low):
        return ""
    low, high = low * per_update, high * per_update
    return f" ({low:,.0f} {f'to {high:,.0f}' if math.isfinite(high) else 'or later'})"


def _with_reason(text: str, said: Declared) -> str:
    return f"{text} {' '.join(said.why.split())}" if said.why else text
