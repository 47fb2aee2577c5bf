"""A trained model at other lengths than those of its training: test metrics, and a figure."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.tasks.figure_style import COLOURS, GREY, new_figure, reference_style
from experiments.tasks.lengths import length_field, trained_lengths
from experiments.tasks.task import Task, goals
from lstm_jax.types import PyTree

if TYPE_CHECKING:
    from experiments.loading import Run

Measured = Mapping[int, float | Sequence[float]]
"""A metric by length: of one network, or of several."""


def metrics_at_lengths(
    run: "Run", lengths: Sequence[int], sequences: int = 500
) -> dict[str, dict[int, list[float]]]:
    """Evaluate all seeds of a run on test sequences of other lengths than in training.

    All sequences of one evaluation have that length, also where the task draws the lengths of its
    held-out sequences.

    Args:
      run: the run.
      lengths: values of the field of the task that `length_field` names.
      sequences: number of sequences of each length.

    Returns:
      For each metric and length, the values of all seeds.

    Raises:
      ValueError: if the task has no length or no such length, or does not fit the model with it.
    """
    name = length_field(run.task)
    if name is None:
        raise ValueError(f"metrics_at_lengths: the task {run.task.name} has no length")
    # Without lengths that are drawn, and so also below the shortest of the training.
    alone = {f"min_{name}": None, "held_out": "longest"}
    alone = {field: value for field, value in alone.items() if hasattr(run.task, field)}
    found: dict[str, dict[int, list[float]]] = {}
    for length in lengths:
        for metric, values in run.evaluate("test", sequences, **{name: length}, **alone).items():
            found.setdefault(metric, {})[length] = np.asarray(values, np.float64).tolist()
    return found


def draw_other_lengths(
    task: Task,
    measured: Mapping[str, Measured],
    metric: str | None = None,
    trained: Mapping[str, tuple[int, int]] | None = None,
    data: PyTree = (),
) -> Figure:
    """Draw a metric of networks against the length of the sequences, beside the baseline.

    Args:
      task: the task, for its goals and for the baseline at each length.
      measured: the metric by length, for every name of a network, or of several networks with one
        name: the figure has their median, and a band from the smallest to the largest.
      metric: the metric; that of the task if None.
      trained: for each name the shortest and longest length of the training; if None, all have
        those of the task.
      data: the data of the task, for its baselines.
    """
    metric, name = metric or task.metric, length_field(task) or "length"
    figure, axes = new_figure(7.0, 4.8)
    for i, (label, found) in enumerate(measured.items()):
        colour = COLOURS[i % len(COLOURS)]
        each = [np.atleast_1d(values) for values in found.values()]
        axes.plot([*found], [np.median(v) for v in each], marker="o", color=colour, label=label)
        axes.fill_between(
            [*found],
            [v.min() for v in each],
            [v.max() for v in each],
            color=colour,
            alpha=0.2,
            linewidth=0,
        )
    ticks = sorted({length for found in measured.values() for length in found})
    if metric == task.metric:
        tasks: list[Task] = [dataclasses.replace(task, **{name: at}) for at in ticks]  # type: ignore[type-var]
        at_ticks = [each.baselines(data, "test") for each in tasks]
        for i, baseline in enumerate(list(at_ticks[0])[:1]):
            values = [each[baseline] for each in at_ticks]
            same = f": {values[0]:.4g}" if len(set(values)) == 1 else ""
            axes.plot(ticks, values, **reference_style(i), label=f"{baseline}{same}")
    for goal_name, goal in goals(task).items():
        if goal.metric == metric:
            axes.axhline(goal.threshold, color=GREY, linewidth=1, label=f"{goal_name}: {goal}")
    own = trained_lengths(task)
    if trained is None and own is not None:
        trained = dict.fromkeys(measured, own)
    _draw_trained(axes, list(measured), trained or {})
    axes.set(xscale="log", xlabel=f"{name.replace('_', ' ')} of a sequence, in steps")
    scale = task.metric_scale if metric == task.metric else "linear"
    axes.set(yscale=scale, ylabel=metric.replace("_", " "))
    axes.set_xticks(
        ticks, [f"{length:,}" for length in ticks], rotation=45 if ticks[-1] > 999 else 0
    )
    axes.minorticks_off()
    several = any(np.size(values) > 1 for found in measured.values() for values in found.values())
    axes.set_title(
        "Held-out sequences of other lengths than those of the training"
        + ("\nmedian of the seeds, and from the best to the worst" if several else "")
    )
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _draw_trained(
    axes: Axes, labels: Sequence[str], trained: Mapping[str, tuple[int, int]]
) -> None:
    """A span over the lengths of the training; where they differ, a bar for each at the bottom."""
    if len(set(trained.values())) > 1:
        # Room for the bars below the curves.
        axes.margins(y=0.05 + 0.03 * len(labels))
    for label, (shortest, longest) in trained.items() if len(set(trained.values())) > 1 else ():
        place = labels.index(label)
        height, colour = 0.02 + 0.03 * place, COLOURS[place % len(COLOURS)]
        axes.plot(
            [shortest / 1.04, longest * 1.04], [height, height], color=colour,
            linewidth=5, solid_capstyle="butt", transform=axes.get_xaxis_transform(),
            label=f"trained on {_steps(shortest, longest)}",
        )  # fmt: skip
    if len(set(trained.values())) == 1:
        shortest, longest = next(iter(trained.values()))
        axes.axvspan(
            shortest / 1.02, longest * 1.02, color=GREY, alpha=0.2, linewidth=0,
            label=f"trained on {_steps(shortest, longest)}",
        )  # fmt: skip


def _steps(shortest: int, longest: int) -> str:
    return f"{longest:,} steps" if shortest == longest else f"{shortest:,} to {longest:,} steps"
