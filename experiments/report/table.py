"""Finished runs as a Markdown table."""

from collections.abc import Sequence
from pathlib import Path

from experiments.errors import UserError
from experiments.numbers import duration, mean_and_spread, span
from experiments.run.workdir import Workdir

COLUMNS = ("task", "test result", "solved", "updates", "sequences", "time", "machine", "command")


def report(paths: Sequence[Path]) -> str:
    """A Markdown table with one row per run.

    Args:
      paths: workdirs of finished runs.

    Returns:
      The table; counts are ranges over the seeds.

    Raises:
      UserError: if a path is not the workdir of a finished run.
    """
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(_row, paths)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(path: Path) -> tuple[str, ...]:
    workdir = Workdir.existing(path)
    summary, environment = workdir.summary(), workdir.environment()
    if summary is None or environment is None:
        raise UserError(f"{path}: has no finished run")
    solved = summary["goals"]["solved"]
    first = [at for at in solved["first_at_update"] if at is not None]
    return (
        summary["task"],
        "<br>".join(
            f"{name} {mean_and_spread(value['seeds'])}" for name, value in summary["test"].items()
        ),
        f"{sum(solved['reached_on_test'])} of {len(summary['seeds'])} seeds ({solved['goal']})"
        + (f"<br>first after {span(first)} updates" if first else ""),
        span(summary["updates"]),
        span(summary["sequences"]),
        f"{duration(summary['seconds'])}, all seeds together",
        f"{environment['cores']} cores of {environment['cpu']},"
        f" jax {environment['versions']['jax']}",
        f"`{summary['command']}`",
    )
