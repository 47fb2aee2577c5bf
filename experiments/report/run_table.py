"""A row for every run: its results, time, machine and command."""

from collections.abc import Sequence
from pathlib import Path

from experiments.numbers import duration, mean_and_spread, span
from experiments.report.markdown import markdown_table
from experiments.report.runs import RunResult
from experiments.run.workdir import Workdir

COLUMNS = ("task", "test result", "solved", "updates", "sequences", "time", "machine", "command")


def run_table(runs: Sequence[RunResult]) -> str:
    """A Markdown table with one row for every finished run; counts are ranges over the seeds.

    Args:
      runs: runs; those that are not finished are left out.
    """
    return markdown_table(COLUMNS, [row for run in runs if (row := _row(run))])


def _row(run: RunResult) -> tuple[str, ...] | None:
    summary = run.summary
    if summary is None:
        return None
    solved = summary.goals["solved"]
    first = [at for at in solved.first_at_update if at is not None]
    tested = {name: [v for v in m.seeds if v is not None] for name, m in summary.test.items()}
    lost = sum(seed.diverged_at is not None for seed in run.seeds)
    return (
        summary.task,
        "\n".join(
            f"{name} {mean_and_spread(values) if values else 'none'}"
            for name, values in tested.items()
        ),
        f"{sum(map(bool, solved.reached_on_test))} of {len(summary.seeds)} seeds ({solved.goal})"
        + (f"\nfirst after {span(first)} updates" if first else "")
        + (f"\n{lost} diverged" if lost else ""),
        span(summary.updates),
        span(summary.sequences),
        f"{duration(summary.seconds)}, all seeds together",
        machine_of(run.path),
        f"`{summary.command}`",
    )


def machine_of(path: Path) -> str:
    """The machine and the version of JAX of a run, from its environment.json.

    Args:
      path: the workdir.
    """
    environment = Workdir(path).environment() or {}
    parts = []
    if environment.get("backend", "cpu") != "cpu" and "device" in environment:
        parts.append(f"{environment['device']}")
    if {"cores", "cpu"} <= environment.keys():
        parts.append(f"{environment['cores']} cores of {environment['cpu']}")
    versions = environment.get("versions")
    if isinstance(versions, dict) and "jax" in versions:
        parts.append(f"jax {versions['jax']}")
    return ", ".join(parts) or "unknown"
