"""The figures of a report: arms in one picture, each with its own colour and line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from experiments.report.arms import Arm, Section, short_names
from experiments.report.axes import FieldAxis, field_axes
from experiments.report.curves import mean_curve
from experiments.report.runs import SeedResult
from experiments.report.statistics import kaplan_meier, mean
from experiments.report.tables import GOAL, best_first
from experiments.tasks import goals
from experiments.tasks.figure_style import (
    GREY,
    legend_beside,
    line_style,
    new_figure,
    reference_style,
)

WIDE = 10.0
# The values of a field are on a logarithmic axis if they span more than this factor.
LARGE_RANGE = 5.0
MOST_TICKS = 12
# With more arms than this, the best have a line of their own and the others are grey.
MOST_ARMS = 12
# With more arms than this, there are no lines for single seeds.
MOST_WITH_SEEDS = 6
OTHER: dict[str, Any] = {"color": GREY, "alpha": 0.35, "linewidth": 0.8, "zorder": 1}
SEED: dict[str, Any] = {
    "alpha": 0.5, "linestyle": "", "marker": "o", "markersize": 4,
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
    if any(arm.finite(section.metric) for arm in section.arms):
        for axis in field_axes(section):
            figures[f"{section.metric}_against_{axis.field}"] = against_field(section, axis)
    paths = []
    for name, figure in figures.items():
        path = folder / f"{prefix}{_file_name(name)}.png"
        FigureCanvasAgg(figure).print_png(str(path))
        paths.append(path)
    return paths


def learning_curves(section: Section) -> Figure:
    """The metric on validation sequences: a line for every seed, the mean and its interval."""
    metric = section.metric
    figure, axes = new_figure(WIDE, 4.6)
    shown, others = _shown(section)
    crowded = len(shown) > MOST_WITH_SEEDS
    for arm in others:
        curve = mean_curve(arm.seeds, metric)
        axes.plot(curve.updates, curve.mean, **OTHER)
    for i, arm in enumerate(shown):
        style = line_style(i)
        for seed in arm.seeds:
            cross = {"marker": "x", "color": style["color"], "markersize": 7, "clip_on": False}
            if metric in seed.curves:
                at, values = seed.curves[metric]
                if not crowded:
                    axes.plot(at, values, color=style["color"], alpha=0.3, linewidth=0.8)
                if seed.diverged_at is not None:
                    axes.plot(at[-1:], values[-1:], **cross)
            elif seed.diverged_at is not None:
                # Before its first value: at the top of the axes.
                top = axes.get_xaxis_transform()
                axes.plot([seed.diverged_at], [1.0], **cross, transform=top)
        curve = mean_curve(arm.seeds, metric)
        alpha = 0.06 if crowded else 0.18
        axes.fill_between(
            curve.updates, curve.low, curve.high, color=style["color"], alpha=alpha, linewidth=0
        )
        axes.plot(curve.updates, curve.mean, **style, linewidth=2.0, label=_label(arm, section))
    if others:
        axes.plot([], [], **OTHER, label=f"{len(others)} other arms, means")
    if _diverged(section.seeds):
        axes.plot([], [], "x", color=GREY, markersize=7, label="diverged")
    _references(axes, section)
    _scale(axes, section)
    axes.set(xlabel="updates", ylabel=f"{_spaced(metric)}, validation", title=_title(section))
    axes.set_xlim(left=0)
    legend_beside(axes)
    return figure


def survival(section: Section) -> Figure:
    """The share of the seeds that are solved after each update, by Kaplan-Meier."""
    figure, axes = new_figure(WIDE, 4.2)
    censored = False
    end = max(seed.updates for seed in section.seeds)
    shown, others = _shown(section)
    for arm in others:
        at, share = kaplan_meier(arm.times_to(GOAL))
        axes.step(at, 1 - share, where="post", **OTHER)
    for i, arm in enumerate(shown):
        style = line_style(i)
        times = arm.times_to(GOAL)
        at, share = kaplan_meier(times)
        if share[-1] == 0:
            # All seeds are solved, and stay so.
            at, share = np.append(at, end), np.append(share, 0.0)
        axes.step(at, 1 - share, where="post", **style, linewidth=2.0, label=_label(arm, section))
        over = times.at[~times.happened]
        heights = 1 - share[np.searchsorted(at, over, side="right") - 1]
        axes.plot(over, heights, "|", color=style["color"], markersize=11, markeredgewidth=1.6)
        censored |= bool(len(over))
    if others:
        axes.plot([], [], **OTHER, label=f"{len(others)} other arms")
    if censored:
        axes.plot(
            [], [], "|", color=GREY, markersize=11, markeredgewidth=1.6, label="ends unsolved"
        )
    axes.set(
        xlabel="updates",
        ylabel=f"share of seeds {GOAL}",
        title=f"{_title(section)}: {GOAL} is {goals(section.task)[GOAL]}",
        ylim=(-0.03, 1.03),
    )
    axes.set_xlim(left=0)
    legend_beside(axes)
    return figure


def against_field(section: Section, axis: FieldAxis) -> Figure:
    """The test metric of every seed, its mean and interval, against a number of the config."""
    metric, name = section.metric, _spaced(short_names([axis.field])[axis.field])
    figure, axes = new_figure(WIDE - 1.0, 4.4)
    values: set[float] = set()
    for i, (label, line) in enumerate(axis.lines):
        arms = [arm for arm in line if arm.finite(metric)]
        if not arms:
            continue
        x = np.array([arm.values[axis.field] for arm in arms], np.float64)
        values |= set(x.tolist())
        for at, arm in zip(x, arms, strict=True):
            seeds = arm.finite(metric)
            axes.plot(np.full(len(seeds), at), seeds, **SEED, color=line_style(i)["color"])
        estimates = [mean(arm.finite(metric)) for arm in arms]
        middle = np.array([e.value for e in estimates])
        low = np.array([e.value if e.low is None else e.low for e in estimates])
        high = np.array([e.value if e.high is None else e.high for e in estimates])
        axes.errorbar(
            x,
            middle,
            yerr=[middle - low, high - middle],
            color=line_style(i)["color"],
            linestyle=line_style(i)["linestyle"] if axis.connected else "",
            elinewidth=2.0 if axis.connected else 0.8,
            linewidth=2.0,
            marker="o",
            markersize=8 if axis.connected else 4,
            markerfacecolor="white",
            capsize=5 if axis.connected else 0,
            label=label or "mean, 95% interval",
        )
    axes.plot([], [], **SEED, color=GREY, label="seeds")
    lost = [arm for _, arms in axis.lines for arm in arms if _diverged(arm.seeds)]
    if lost:
        # At the top of the axes: a seed that diverged has no value.
        x = [arm.values[axis.field] for arm in lost]
        top = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(x, [1.0] * len(x), "x", color=GREY, markersize=8, label="some diverged", **top)
        values |= set(map(float, x))
    _baselines_against(axes, section, axis)
    _scale(axes, section)
    at = sorted(values)
    if at[0] > 0 and at[-1] / at[0] > LARGE_RANGE:
        axes.set_xscale("log")
    if len(at) <= MOST_TICKS:
        axes.set_xticks(at)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set(
        xlabel=name,
        ylabel=f"{_spaced(metric)}, test",
        title=f"{section.title}: {_spaced(metric)} against {name}",
    )
    legend_beside(axes)
    return figure


def _baselines_against(axes: Axes, section: Section, axis: FieldAxis) -> None:
    """The baselines at each value of the field, if they depend on no other field."""
    if section.metric != section.task.metric:
        return
    points: dict[str, dict[float, set[float]]] = {}
    for _, arms in axis.lines:
        for arm in arms:
            for run in arm.runs:
                for name, value in run.baselines.items():
                    at = points.setdefault(name, {}).setdefault(arm.values[axis.field], set())
                    at.add(value)
    for i, (name, at) in enumerate(points.items()):
        if all(len(values) == 1 for values in at.values()):
            x = sorted(at)
            axes.plot(x, [next(iter(at[v])) for v in x], **reference_style(i), label=name)


def _shown(section: Section) -> tuple[list[Arm], list[Arm]]:
    """The arms with a line of their own, in their order, and the others."""
    best = [arm.key for arm in best_first(section)[:MOST_ARMS]]
    shown = [arm for arm in section.arms if arm.key in best]
    return shown, [arm for arm in section.arms if arm.key not in best]


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


def _diverged(seeds: Sequence[SeedResult]) -> bool:
    return any(seed.diverged_at is not None for seed in seeds)


def _label(arm: Arm, section: Section) -> str:
    return arm.name if _seeds_of_all(section) else f"{arm.name} ({_seeds(len(arm.seeds))})"


def _title(section: Section) -> str:
    """The task, and the number of seeds if all arms have as many."""
    count = _seeds_of_all(section)
    if count is None:
        return section.title
    return f"{section.title}, {_seeds(count)}{' each' if len(section.arms) > 1 else ''}"


def _seeds_of_all(section: Section) -> int | None:
    counts = {len(arm.seeds) for arm in section.arms}
    return counts.pop() if len(counts) == 1 else None


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
