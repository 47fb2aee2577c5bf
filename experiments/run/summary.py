"""The summary of a run: data for summary.json, and text for the terminal."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from experiments.config.schema import Config
from experiments.numbers import duration, mean_and_spread, mean_and_std, span
from experiments.run.checkpoints import TrainingProgress
from experiments.tasks import Task, goals


def summarize(
    config: Config,
    progress: TrainingProgress,
    updates: list[int],
    test: dict[str, np.ndarray],
    baselines: dict[str, float],
    command: str,
) -> dict[str, Any]:
    """The content of summary.json.

    Args:
      config: the config of the run.
      progress: updates, times and goals of the training.
      updates: the updates that each seed has done ``[N]``.
      test: metrics of every seed ``[N]`` on test sequences; NaN for one that has diverged.
      baselines: the task's metric for solutions without memory.
      command: the command line.

    Returns:
      A dict of plain values; lists have one entry per seed, None where a seed has no value.
      Means and standard deviations are those of the seeds that have not diverged.
    """
    task = config.task
    return {
        "command": command,
        "task": describe_task(task),
        "seeds": list(range(config.seed, config.seed + config.seeds)),
        "updates": updates,
        "sequences": [n * config.train.batch_size for n in updates],
        "diverged": progress.diverged,
        "batch_size": config.train.batch_size,
        "metric": task.metric,
        "baselines": baselines,
        "test": {name: _statistics(values) for name, values in test.items()},
        "goals": {
            name: {
                "goal": str(goal),
                "reached_on_test": goal.reached(test).tolist(),
                "first_at_update": getattr(progress, f"{name}_at"),
            }
            for name, goal in goals(task).items()
        },
        "seconds": progress.seconds,
        "updates_per_second": progress.update / progress.seconds if progress.seconds else 0.0,
        "compile_seconds": progress.compile_seconds,
        "python_share": _python_share(progress),
    }


def describe_task(task: Task) -> str:
    """The name and the settings of a task.

    >>> from experiments.tasks import Adding
    >>> describe_task(Adding(length=100))
    'adding, length 100'
    """
    settings = {f.name: getattr(task, f.name) for f in dataclasses.fields(task)}  # type: ignore[arg-type]
    del settings["name"]
    return ", ".join([task.name, *(f"{name} {value}" for name, value in settings.items())])


def render(summary: dict[str, Any], workdir: Path) -> str:
    """A summary as text, in a few lines."""
    metric, seeds = summary["metric"], summary["seeds"]
    rows = [(f"{metric}, {name}", f"{value:.4g}") for name, value in summary["baselines"].items()]
    # The metric of the baselines comes first, next to them.
    for name, value in sorted(summary["test"].items(), key=lambda item: item[0] != metric):
        label = f"{name}, reached" if name == metric else name
        finite = [v for v in value["seeds"] if v is not None]
        rows.append((label, mean_and_spread(finite) if finite else "diverged"))
    verdicts = []
    for name, goal in summary["goals"].items():
        reached = sum(goal["reached_on_test"])
        if len(seeds) == 1:
            verdicts.append(name if reached else f"not {name}")
        else:
            verdicts.append(f"{name} by {reached} of {len(seeds)} seeds")
        rows.append((f"{name} ({goal['goal']})", _when(goal["first_at_update"], summary)))
    rows += [
        (
            f"seed {seed} diverged",
            f"{bad['metric']} became {bad['value']} at update {bad['update']}",
        )
        for seed, bad in zip(seeds, summary.get("diverged", []), strict=False)
        if bad is not None
    ]
    share = summary["python_share"]
    rows.append(("trained for", _counts(summary["updates"], summary["batch_size"])))
    rows.append(
        (
            "time",
            f"{duration(summary['seconds'])}, {summary['updates_per_second']:.0f} updates/s,"
            f" {share:.1%} of it in Python",
        )
    )
    rows += [
        ("pictures" if i == 0 else "", str(workdir / name))
        for i, name in enumerate(summary["figures"])
    ]
    width = max(len(label) for label, _ in rows)
    lines = [f"{summary['task']}: {', '.join(verdicts)}", ""]
    lines += [f"  {label:<{width}}  {value}".rstrip() for label, value in rows]
    return "\n".join(lines)


def _statistics(values: np.ndarray) -> dict[str, Any]:
    finite = np.isfinite(values)
    mean, std = mean_and_std(values[finite]) if finite.any() else (None, None)
    seeds = [float(v) if ok else None for v, ok in zip(values, finite, strict=True)]
    return {"seeds": seeds, "mean": mean, "std": std}


def _when(first_at_update: list[int | None], summary: dict[str, Any]) -> str:
    reached = [at for at in first_at_update if at is not None]
    if not reached:
        return "not reached on held-out sequences while training"
    text = f"after {_counts(reached, summary['batch_size'])}"
    if len(reached) < len(first_at_update):
        text += f" ({len(reached)} of {len(first_at_update)} seeds)"
    return text


def _counts(updates: list[int], batch_size: int) -> str:
    return f"{span(updates)} updates, {span([n * batch_size for n in updates])} sequences"


def _python_share(progress: TrainingProgress) -> float:
    """The share of the time after compilation in which Python did not wait for the device."""
    seconds = progress.seconds - progress.compile_seconds
    return 1 - progress.device_seconds / seconds if seconds > 0 else 0.0
