"""The figures of a run: the learning curve, and the figures that its task draws."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.config.schema import Config
from experiments.errors import Interrupted
from experiments.model import ModelParams, make_model
from experiments.run.atomic_write import write_errors
from experiments.run.curves import on_common_updates
from experiments.run.summary import describe_task
from experiments.run.workdir import Workdir
from experiments.tasks.figure_style import (
    GREY,
    INK,
    legend_beside,
    new_figure,
    reference_style,
    seed_colour,
)
from experiments.training import keys
from lstm_jax.types import PyTree

# With more seeds than this, the legend has one entry for all of them.
MOST_LABELS = 8


def draw_figures(
    config: Config, params: ModelParams, data: PyTree, workdir: Workdir, summary: dict[str, Any]
) -> None:
    """Draw the learning curve and the task's figures, and add their names to the summary.

    A figure that cannot be drawn is a line on stderr.

    Args:
      config: the config of the run.
      params: parameters of all seeds, leaves ``[N, ...]``; the figures use the first seed.
      data: the data of the task.
      workdir: the workdir.
      summary: the names are added to it as ``"figures"``.
    """
    folder = workdir.figures_path
    with write_errors(folder):
        folder.mkdir(exist_ok=True)

    def curve() -> dict[str, Figure | str]:
        records, baselines = workdir.metrics.read(), config.task.baselines(data, "validation")
        drawn = learning_curve(config, records, baselines, summary.get("diverged"))
        return {"learning_curve.png": drawn}

    def of_task() -> dict[str, Figure | str]:
        return config.task.figures(
            make_model(config.model, config.task),
            jax.tree.map(lambda leaf: leaf[0], params),
            data,
            keys.data_key("test", config.seed),
            config.eval.sequences,
        )

    for what, draw in {"learning curve": curve, "figures of the task": of_task}.items():
        try:
            drawn = draw()
        except Interrupted:
            raise
        # A task may be the user's own, and no error of a figure may lose a finished training.
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            print(f"the {what} cannot be drawn: {type(error).__name__}: {reason}", file=sys.stderr)
            continue
        with write_errors(folder):
            for name, content in drawn.items():
                _write(folder / name, content)
    summary["figures"] = sorted(str(path.relative_to(workdir.path)) for path in folder.iterdir())


def _write(path: Path, content: Figure | str) -> None:
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        FigureCanvasAgg(content).print_png(str(path))


def learning_curve(
    config: Config,
    records: list[dict[str, Any]],
    baselines: dict[str, float],
    diverged: Sequence[Any] | None = None,
) -> Figure:
    """Training loss and held-out metric of every seed, their mean, and the baselines.

    Args:
      config: the config of the run.
      records: the records of metrics.jsonl.
      baselines: values of the task's metric, by name.
      diverged: for each seed, where it diverged, or None; its curve ends with a cross.
    """
    task, metric, count = config.task, config.task.metric, config.seeds
    none = {metric: [None] * count}
    lost = [place is not None for place in diverged or [None] * count]
    curves = []
    figure, axes = new_figure(9.0, 4.4)
    for i in range(count):
        colour = seed_colour(i, count)
        trained = _series(records, lambda r, i=i: r["loss"][i])
        held_out = _series(records, lambda r, i=i: r.get("validation", none)[metric][i])
        label = f"seed {config.seed + i}" if count <= MOST_LABELS else None
        axes.plot(*trained, color=colour, alpha=0.35, linewidth=0.8)
        # A line through one evaluation shows nothing.
        dot = "o" if len(held_out[0]) == 1 else None
        width = 1.4 if count > 1 else 2.0
        axes.plot(*held_out, color=colour, linewidth=width, marker=dot, label=label)
        if lost[i]:
            end = held_out if len(held_out[0]) else trained
            axes.plot(end[0][-1:], end[1][-1:], "x", color=colour, markersize=8, markeredgewidth=2)
        curves.append(held_out)
    if count > MOST_LABELS:
        middle = seed_colour(count // 2, count)
        label = f"seeds {config.seed} to {config.seed + count - 1}"
        axes.plot([], [], color=middle, linewidth=1.4, label=label)
    if count > 1:
        updates, values = on_common_updates(curves, [not over for over in lost])
        axes.plot(updates, _mean(values), color=INK, linewidth=2.4, label="mean of the seeds")
    axes.plot([], [], color=INK, alpha=0.35, linewidth=0.8, label="loss in training")
    if any(lost):
        axes.plot([], [], "x", color=INK, markersize=8, markeredgewidth=2, label="diverged")
    for i, (name, value) in enumerate(baselines.items()):
        axes.axhline(value, **reference_style(i), label=f"{name}: {value:.4g}")
    if task.solved.metric == metric:
        axes.axhline(task.solved.threshold, color=GREY, linewidth=1, label=f"solved: {task.solved}")
    axes.set_yscale(task.metric_scale)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"updates of {config.train.sequences_per_update} sequences")
    axes.set_ylabel(f"{metric.replace('_', ' ')}, held-out")
    seeds = "" if count == 1 else f", {count} seeds"
    axes.set_title(f"{describe_task(task)}{seeds}")
    legend_beside(axes)
    return figure


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over the seeds that have a value ``[m]``; nan where none has."""
    known = np.isfinite(values)
    total, number = np.where(known, values, 0).sum(axis=0), known.sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _series(
    records: list[dict[str, Any]], value: Callable[[dict[str, Any]], float | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Updates and values of the records that have a value for this seed."""
    points = [
        (record["update"], found) for record in records if (found := value(record)) is not None
    ]
    updates, values = np.array(points, np.float64).reshape(-1, 2).T
    return updates, values
