"""The results of a sweep as a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.numbers import mean_and_spread, span
from experiments.run.summary import lower_is_better
from experiments.sweep.folder import SweepFolder
from experiments.sweep.points import Point
from experiments.tasks import Goal


def results_table(path: Path, points: Sequence[Point]) -> str:
    """The test results of finished points, the best first; a table for each metric and goal.

    Args:
      path: the folder of the sweep.
      points: the points, all finished.
    """
    folder = SweepFolder(path)
    rows = [(point, folder.summary(point.name)) for point in points]
    tables: dict[tuple[str, Goal], list[tuple[Point, dict[str, Any]]]] = {}
    for point, summary in rows:
        key = summary["metric"], point.config.task.solved
        tables.setdefault(key, []).append((point, summary))
    lines: list[str] = []
    for (metric, goal), own in tables.items():
        task = own[0][0].config.task
        sign = 1 if lower_is_better(task, metric) else -1
        own.sort(key=lambda row: sign * _mean(row[1], sign))
        head = ("point", f"test {metric}", f"solved ({goal})", "updates")
        table = [head, *(_row(point, summary) for point, summary in own)]
        widths = [max(len(row[i]) for row in table) for i in range(len(head))]
        lines += [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        lines.append("")
    return "\n".join([*lines, f"each point is a run in {folder.points_path}"])


def _row(point: Point, summary: dict[str, Any]) -> tuple[str, ...]:
    values = _values(summary)
    bad = len(summary["seeds"]) - len(values)
    result = mean_and_spread(values) if values else "diverged"
    if values and bad:
        result += f", {bad} diverged"
    reached = summary["goals"]["solved"]["reached_on_test"]
    return point.name, result, f"{sum(reached)} of {len(reached)}", span(summary["updates"])


def _values(summary: dict[str, Any]) -> list[float]:
    """The metric of the seeds that have not diverged."""
    values = summary["test"][summary["metric"]]["seeds"]
    return [value for value in values if value is not None and value == value]


def _mean(summary: dict[str, Any], sign: int) -> float:
    values = _values(summary)
    return sum(values) / len(values) if values else sign * float("inf")
