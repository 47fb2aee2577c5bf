"""The figures of a report: arms in one picture, each with its own colour and line."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from experiments.report.arms import Arm, Section, short_names
from experiments.report.curves import mean_curve
from experiments.report.statistics import kaplan_meier, mean
from experiments.report.tables import GOAL
from experiments.tasks import goals
from experiments.tasks.figure_style import (
    COLOURS,
    GREY,
    legend_beside,
    line_style,
    new_figure,
    reference_style,
)

WIDE = 10.0
# The values of a field are on a logarithmic axis if they span more than this factor.
LARGE_RANGE = 5.0
SEED: dict[str, Any] = {
    "color": COLOURS[0], "alpha": 0.5, "linestyle": "", "marker": "o", "markersize": 4,
    "markeredgewidth": 0, "zorder": 3,
}  # fmt: skip


def draw_report(section: Section, folder: Path, prefix: str = "") -> list[Path]:
    """Draw the figures of a section.

    Args:
      section: the arms of one task.
      folder: an existing folder.
      prefix: the start of the file names.

    Returns:
      The files written: learning_curves.png, survival.png and, if the arms differ in one number,
      metric_against_FIELD.png.
    """
    figures = {"learning_curves": learning_curves(section), "survival": survival(section)}
    if (field := section.numeric_field) and any(arm.finite(section.metric) for arm in section.arms):
        figures[f"{section.metric}_against_{field}"] = against_field(section, field)
    paths = []
    for name, figure in figures.items():
        path = folder / f"{prefix}{_file_name(name)}.png"
        FigureCanvasAgg(figure).print_png(str(path))
        paths.append(path)
    return paths


def learning_curves(section: Section) -> Figure:
    """The metric on validation sequences: a line for every seed, the mean and its interval."""
    metric = section.metric
    figure, axes = new_figure(WIDE, _height(section, 4.6))
    for i, arm in enumerate(section.arms):
        style = line_style(i)
        for seed in arm.seeds:
            if metric not in seed.curves:
                continue
            at, values = seed.curves[metric]
            axes.plot(at, values, color=style["color"], alpha=0.3, linewidth=0.8)
            if seed.diverged_at is not None:
                axes.plot(at[-1:], values[-1:], "x", color=style["color"], markersize=7)
        curve = mean_curve(arm.seeds, metric)
        axes.fill_between(
            curve.updates, curve.low, curve.high, color=style["color"], alpha=0.18, linewidth=0
        )
        axes.plot(curve.updates, curve.mean, **style, linewidth=2.0, label=_label(arm))
    if any(seed.diverged_at is not None for seed in section.seeds):
        axes.plot([], [], "x", color=GREY, markersize=7, label="diverged")
    _references(axes, section)
    _scale(axes, section)
    axes.set(xlabel="updates", ylabel=f"{_spaced(metric)}, validation", title=section.title)
    axes.set_xlim(left=0)
    legend_beside(axes)
    return figure


def survival(section: Section) -> Figure:
    """The share of the seeds that are solved after each update, by Kaplan-Meier."""
    figure, axes = new_figure(WIDE, _height(section, 4.2))
    censored = False
    end = max(seed.updates for seed in section.seeds)
    for i, arm in enumerate(section.arms):
        style = line_style(i)
        times = arm.times_to(GOAL)
        at, share = kaplan_meier(times)
        if share[-1] == 0:
            # All seeds are solved, and stay so.
            at, share = np.append(at, end), np.append(share, 0.0)
        axes.step(at, 1 - share, where="post", **style, linewidth=2.0, label=_label(arm))
        over = times.at[~times.happened]
        heights = 1 - share[np.searchsorted(at, over, side="right") - 1]
        axes.plot(over, heights, "|", color=style["color"], markersize=11, markeredgewidth=1.6)
        censored |= bool(len(over))
    if censored:
        axes.plot(
            [], [], "|", color=GREY, markersize=11, markeredgewidth=1.6, label="ends unsolved"
        )
    axes.set(
        xlabel="updates",
        ylabel=f"share of seeds {GOAL}",
        title=f"{section.title}: {GOAL} is {goals(section.task)[GOAL]}",
        ylim=(-0.03, 1.03),
    )
    axes.set_xlim(left=0)
    legend_beside(axes)
    return figure


def against_field(section: Section, field: str) -> Figure:
    """The test metric of every seed, its mean and interval, against a number of the config."""
    metric, name = section.metric, short_names([field])[field]
    figure, axes = new_figure(WIDE - 1.5, 4.4)
    arms = [arm for arm in section.arms if arm.finite(metric)]
    x = np.array([arm.values[field] for arm in arms], np.float64)
    estimates = [mean(arm.finite(metric)) for arm in arms]
    for at, arm in zip(x, arms, strict=True):
        values = arm.finite(metric)
        axes.plot(np.full(len(values), at), values, **SEED)
    middle = np.array([estimate.value for estimate in estimates])
    ends = np.array([[e.low or e.value, e.high or e.value] for e in estimates]).T
    axes.errorbar(
        x,
        middle,
        yerr=np.abs(ends - middle),
        color=COLOURS[0],
        linewidth=2.0,
        marker="o",
        markersize=8,
        markerfacecolor="white",
        capsize=5,
        label="mean, 95% interval",
    )
    axes.plot([], [], **SEED, label="seeds")
    if metric == section.task.metric:
        names = dict.fromkeys(n for arm in arms for run in arm.runs for n in run.baselines)
        for i, baseline in enumerate(names):
            points = [
                (a, arm.runs[0].baselines.get(baseline)) for a, arm in zip(x, arms, strict=True)
            ]
            axes.plot(*zip(*points, strict=True), **reference_style(i), label=baseline)
    _scale(axes, section)
    if x.min() > 0 and x.max() / x.min() > LARGE_RANGE:
        axes.set_xscale("log")
    if len(x) <= 12:
        axes.set_xticks(x)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set(xlabel=_spaced(name), ylabel=f"{_spaced(metric)}, test", title=section.title)
    legend_beside(axes)
    return figure


def _height(section: Section, least: float) -> float:
    """The height at which the legend, with two lines for each arm, fits beside the axes."""
    return max(least, 0.36 * len(section.arms) + 1.6)


def _references(axes: Axes, section: Section) -> None:
    """Lines at the baselines, and at the goals that are about the metric."""
    runs = [run for arm in section.arms for run in arm.runs]
    if section.metric == section.task.metric:
        baselines: dict[str, set[float]] = {}
        for run in runs:
            for name, value in run.baselines.items():
                baselines.setdefault(name, set()).add(value)
        same = {name: next(iter(v)) for name, v in baselines.items() if len(v) == 1}
        for i, (name, value) in enumerate(same.items()):
            axes.axhline(value, **reference_style(i), label=f"{name}: {value:.4g}")
    for name, goal in goals(section.task).items():
        if goal.metric == section.metric:
            axes.axhline(goal.threshold, color=GREY, linewidth=1, label=f"{name}: {goal}", zorder=1)


def _scale(axes: Axes, section: Section) -> None:
    if section.metric == section.task.metric:
        axes.set_yscale(section.task.metric_scale)


def _label(arm: Arm) -> str:
    seeds = "1 seed" if len(arm.seeds) == 1 else f"{len(arm.seeds)} seeds"
    return f"{arm.name} ({seeds})"


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
