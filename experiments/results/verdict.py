"""Whether a row reached its goal, and by how much it missed it."""

from typing import NamedTuple

import numpy as np

from experiments.numbers import duration
from experiments.results.declared import LengthGoal, RowGoal
from experiments.results.paper_table import mean_sequences, results_of
from experiments.results.rows import Row


class Verdict(NamedTuple):
    """What a row reached of its goal.

    Attributes:
      reached: whether it reached all of it.
      missed: for each part that it missed, by how much.
    """

    reached: bool
    missed: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "reached" if self.reached else f"missed: {'; '.join(self.missed)}"


def goal_text(goal: RowGoal) -> str:
    """A goal in words.

    >>> goal_text(RowGoal(solved=5, seeds=5, updates=1600))
    '5 of 5 seeds within 1,600 updates'
    >>> goal_text(RowGoal(solved=3, seeds=5, sequences=74000, stays=True))
    '3 of 5 seeds within 74,000 sequences, still solved at the end'
    """
    within = [
        f"{count:,} {unit}"
        for count, unit in ((goal.updates, "updates"), (goal.sequences, "sequences"))
        if count is not None
    ]
    parts = []
    if goal.seeds is not None:
        text = f"{goal.solved or goal.seeds} of {goal.seeds} seeds"
        parts.append(f"{text} within {' and '.join(within)}" if within else text)
    if goal.stays:
        parts.append("still solved at the end")
    if goal.seconds is not None:
        parts.append(f"in less than {duration(goal.seconds)}")
    if goal.times_paper is not None:
        parts.append(f"the paper's success, in at most {goal.times_paper:g} times its sequences")
    parts += [f"{at.metric} below {at.below:g} at length {at.length:,}" for at in goal.at]
    return ", ".join(parts)


def verdict(row: Row) -> Verdict | None:
    """Compare a row with its goal; None for a row without one.

    A seed reached the goal if it was solved on held-out sequences within the updates of the goal,
    and with `RowGoal.stays` is so on test sequences at the end as well. With more seeds than the
    goal asks for, the share has to be as high.
    """
    goal = row.declared.goal
    if goal is None:
        return None
    missed = [*_seeds(row, goal), *(_at(row, at) for at in goal.at)]
    if goal.times_paper is not None:
        missed += _of_paper(row, goal.times_paper)
    if goal.seconds is not None:
        missed.append(_seconds(row, goal.seconds))
    found = tuple(text for text in missed if text)
    return Verdict(not found, found)


def _seeds(row: Row, goal: RowGoal) -> list[str]:
    if goal.seeds is None:
        return []
    needed, limit, count = goal.solved or goal.seeds, _limit(row, goal), len(row.seeds)
    first = [seed.reached_at["solved"] for seed in row.seeds]
    late = sorted(at for at in first if at is not None and at > limit)
    never = [seed.updates for seed in row.seeds if seed.reached_at["solved"] is None]
    lost = 0
    if goal.stays:
        lost = sum(
            at is not None and at <= limit and not seed.reached_on_test["solved"]
            for at, seed in zip(first, row.seeds, strict=True)
        )
    good = count - len(late) - len(never) - lost
    found = []
    if count < goal.seeds:
        found.append(f"{count} of {goal.seeds} seeds trained")
    if good * goal.seeds < needed * count:
        details = []
        if late:
            details.append(f"{len(late)} later, after {', '.join(f'{at:,}' for at in late)}")
        if never:
            details.append(f"{len(never)} not in {max(never):,}")
        if lost:
            details.append(f"{lost} solved and lost again")
        found.append(f"{good} of {count} seeds ({'; '.join(details)})")
    return found


def _limit(row: Row, goal: RowGoal) -> float:
    """The updates within which a seed has to be solved."""
    limits = [np.inf if goal.updates is None else goal.updates]
    if goal.sequences is not None:
        limits.append(goal.sequences / row.sequences_per_update)
    return min(limits)


def _seconds(row: Row, limit: float) -> str:
    seconds = sum(run.summary.seconds for run in row.result.runs if run.summary is not None)
    return f"took {duration(seconds)}" if seconds > limit else ""


def _of_paper(row: Row, most: float) -> list[str]:
    """What is missing of the success of the paper's trials, and sequences above its number."""
    missed = []
    for result in results_of(row):
        count, sequences = mean_sequences(row, result.goal)
        name, share = f"{result.experiment}, {result.setting}", count / len(row.seeds)
        # The paper has whole per cent: 29 of 30 are its 97%.
        if round(share, 2) < result.success:
            missed.append(f"{name}: {share:.0%} of the seeds, in the paper {result.success:.0%}")
        if count and sequences > most * result.sequences:
            times = sequences / result.sequences
            missed.append(f"{name}: {sequences:,.0f} sequences, {times:.2g} times the paper's")
    return missed


def _at(row: Row, goal: LengthGoal) -> str:
    values = row.at_lengths.get(goal.metric, {}).get(goal.length)
    if values is None:
        return f"{goal.metric} at length {goal.length:,} not measured"
    if len(values) < len(row.seeds):
        of = f"{len(values)} of {len(row.seeds)} seeds"
        return f"{goal.metric} at length {goal.length:,} measured of {of}"
    median = float(np.median(values))
    if median < goal.below:
        return ""
    times = f", {median / goal.below:.2g} times as high" if goal.below > 0 else ""
    return f"{goal.metric} {median:.2g} at length {goal.length:,}{times}"
