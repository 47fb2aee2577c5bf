"""The figures of a run: the learning curve, and the figures that its task draws."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.config.schema import Config
from experiments.errors import Interrupted
from experiments.model import ModelParams, make_model
from experiments.run.summary import describe_task
from experiments.run.workdir import Workdir
from experiments.tasks.figure_style import BLUE, GREY, ORANGE, new_figure
from experiments.training import keys
from lstm_jax.types import PyTree


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
    folder.mkdir(exist_ok=True)

    def curve() -> dict[str, Figure | str]:
        records, baselines = workdir.metrics.read(), config.task.baselines(data, "validation")
        return {"learning_curve.png": learning_curve(config, records, baselines)}

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
            for name, content in draw().items():
                _write(folder / name, content)
        except Interrupted:
            raise
        # A task may be the user's own, and no error of a figure may lose a finished training.
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            print(f"the {what} cannot be drawn: {type(error).__name__}: {reason}", file=sys.stderr)
    summary["figures"] = sorted(str(path.relative_to(workdir.path)) for path in folder.iterdir())


def _write(path: Path, content: Figure | str) -> None:
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        FigureCanvasAgg(content).print_png(str(path))


def learning_curve(
    config: Config, records: list[dict[str, Any]], baselines: dict[str, float]
) -> Figure:
    """Training loss and held-out metric of every seed, and the baselines.

    Args:
      config: the config of the run.
      records: the records of metrics.jsonl.
      baselines: values of the task's metric, by name.
    """
    task, metric = config.task, config.task.metric
    none = {metric: [None] * config.seeds}
    figure, axes = new_figure(7.0, 4.2)
    for seed in range(config.seeds):
        trained = _series(records, lambda r, i=seed: r["loss"][i])
        held_out = _series(records, lambda r, i=seed: r.get("validation", none)[metric][i])
        labels = ("training", "held-out") if seed == 0 else (None, None)
        axes.plot(*trained, color=BLUE, alpha=0.3, linewidth=1, label=labels[0])
        axes.plot(*held_out, color=BLUE, linewidth=1.8, label=labels[1])
    for (name, value), style in zip(baselines.items(), ("--", ":", "-."), strict=False):
        axes.axhline(value, color=ORANGE, linestyle=style, label=f"{name}: {value:.4g}")
    if task.solved.metric == metric:
        axes.axhline(task.solved.threshold, color=GREY, linewidth=1, label=f"solved: {task.solved}")
    axes.set_yscale(task.metric_scale)
    axes.set_xlabel(f"updates of {config.train.batch_size} sequences")
    axes.set_ylabel(metric.replace("_", " "))
    seeds = "" if config.seeds == 1 else f", {config.seeds} seeds"
    axes.set_title(f"{describe_task(task)}{seeds}")
    axes.legend(frameon=False, fontsize=9)
    return figure


def _series(
    records: list[dict[str, Any]], value: Callable[[dict[str, Any]], float | None]
) -> tuple[list[int], list[float]]:
    """Updates and values of the records that have a value for this seed."""
    points = [(record["update"], value(record)) for record in records]
    found = [(update, v) for update, v in points if v is not None]
    return [update for update, _ in found], [v for _, v in found]
