"""The summary of a run: data for summary.json, and text for the terminal."""

import dataclasses
from collections.abc import Mapping, Sequence
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
        "sequences": [n * config.train.sequences_per_update for n in updates],
        "diverged": progress.diverged,
        "sequences_per_update": config.train.sequences_per_update,
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
    """The name of a task, its first setting, and the others where they are not the default.

    >>> from experiments.tasks import Adding
    >>> describe_task(Adding(length=200))
    'adding, length 200'
    >>> describe_task(Adding(length=100, markers="anywhere"))
    'adding, length 100, markers anywhere'
    """
    settings = [f for f in dataclasses.fields(task) if f.name != "name"]  # type: ignore[arg-type]
    values = {f.name: getattr(task, f.name) for f in settings}
    defaults = {f.name: f.default for f in settings[1:]}
    given = (
        f"{name} {value}"
        for name, value in values.items()
        if value is not None and (name not in defaults or value != defaults[name])
    )
    return ", ".join([task.name, *given])


def lower_is_better(task: Task, metric: str) -> bool:
    """Whether lower values of a metric are better: as its goals say, or true if it has none.

    >>> from experiments.tasks import Adding
    >>> lower_is_better(Adding(), "mse"), lower_is_better(Adding(), "within_0.04")
    (True, False)
    """
    return all(goal.relation == "<" for goal in goals(task).values() if goal.metric == metric)


def render(summary: dict[str, Any], workdir: Path) -> str:
    """A summary as text, in a few lines."""
    metric, seeds = summary["metric"], summary["seeds"]
    tested = {name: value["seeds"] for name, value in summary["test"].items()}
    rows = metric_rows(metric, tested, summary["baselines"])
    verdicts = []
    for name, goal in summary["goals"].items():
        reached = sum(map(bool, goal["reached_on_test"]))
        if len(seeds) == 1:
            verdicts.append(name if reached else f"not {name}")
        else:
            verdicts.append(f"{name} by {reached} of {len(seeds)} seeds")
        rows.append((f"{name} ({goal['goal']})", _when(goal, summary)))
    rows += [
        (
            f"seed {seed} diverged",
            f"{bad['metric']} became {bad['value']} at update {bad['update']:,}",
        )
        for seed, bad in zip(seeds, summary.get("diverged") or [], strict=False)
        if bad is not None
    ]
    share = summary["python_share"]
    rows.append(("trained for", _counts(summary["updates"], summary["sequences_per_update"])))
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
    return f"{summary['task']}: {', '.join(verdicts)} on test sequences\n\n{in_columns(rows)}"


def metric_rows(
    metric: str, values: Mapping[str, Any], baselines: Mapping[str, float]
) -> list[tuple[str, str]]:
    """Labels and texts of the baselines, and of the mean and spread of every metric.

    Args:
      metric: the metric of the baselines, which comes first, next to them.
      values: by metric, a value for each seed; none and nan are left out.
      baselines: the metric for solutions without memory, by name.

    >>> metric_rows("mse", {"near": [1.0], "mse": [0.1, None]}, {"always answer 1": 1 / 6})
    [('mse, always answer 1', '0.1667'), ('mse, reached', '0.1 (1 of 2 seeds)'), ('near', '1')]
    """
    rows = [(f"{metric}, {name}", f"{value:.4g}") for name, value in baselines.items()]
    for name, per_seed in sorted(values.items(), key=lambda item: item[0] != metric):
        finite = [v for v in per_seed if v is not None and np.isfinite(v)]
        text = mean_and_spread(finite) if finite else "none"
        if len(finite) < len(per_seed):
            text += f" ({len(finite)} of {len(per_seed)} seeds)"
        rows.append((f"{name}, reached" if name == metric else name, text))
    return rows


def in_columns(rows: Sequence[tuple[str, str]]) -> str:
    """Labels and texts in two columns.

    >>> print(in_columns([("mse", "0.1"), ("within_0.04", "0.9")]))
      mse          0.1
      within_0.04  0.9
    """
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"  {label:<{width}}  {text}".rstrip() for label, text in rows)


def _statistics(values: np.ndarray) -> dict[str, Any]:
    finite = np.isfinite(values)
    mean, std = mean_and_std(values[finite]) if finite.any() else (None, None)
    seeds = [float(v) if ok else None for v, ok in zip(values, finite, strict=True)]
    return {"seeds": seeds, "mean": mean, "std": std}


def _when(goal: dict[str, Any], summary: dict[str, Any]) -> str:
    """When a goal was reached on validation sequences; on test sequences too, if that differs."""
    first_at_update, on_test = goal["first_at_update"], goal["reached_on_test"]
    reached = [at for at in first_at_update if at is not None]
    count, tested = len(first_at_update), sum(map(bool, on_test))
    if reached:
        text = f"after {_counts(reached, summary['sequences_per_update'])}"
        if len(reached) < count:
            text += f" ({len(reached)} of {count} seeds)"
    else:
        text = "not reached"
    if [at is not None for at in first_at_update] == [bool(value) for value in on_test]:
        return text
    one = "reached" if tested else "not"
    there = one if count == 1 else f"{tested} of {count} seeds"
    return f"{text} on validation sequences, but {there} on test sequences"


def _counts(updates: list[int], sequences_per_update: int) -> str:
    return f"{span(updates)} updates, {span([n * sequences_per_update for n in updates])} sequences"


def _python_share(progress: TrainingProgress) -> float:
    """The share of the time after compilation in which Python did not wait for the device."""
    seconds = progress.seconds - progress.compile_seconds
    return 1 - progress.device_seconds / seconds if seconds > 0 else 0.0
