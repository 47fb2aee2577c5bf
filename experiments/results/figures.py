"""The figures of the results page: learning curves of all lengths, and updates to solve by length.

Each picture has a digest of what it shows among its metadata: its points, words, colours and lines.
It is written again only if that has changed, so that the same runs leave the same files.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from PIL import Image

from experiments.errors import UserError
from experiments.inspection.other_lengths import draw_other_lengths
from experiments.report.curves import mean_curve
from experiments.report.statistics import median_time
from experiments.results.declared import Published
from experiments.results.folder import Results, figure_name
from experiments.results.lengths_file import LENGTHS_FILE
from experiments.results.rows import Row
from experiments.tasks import goals
from experiments.tasks.figure_style import (
    COLOURS,
    GREY,
    INK,
    LINES,
    legend_beside,
    new_figure,
    reference_style,
)
from experiments.tasks.lengths import length_field, trained_lengths

DIGEST = "Results"
"""The name of the digest among the metadata of a picture."""
MARKERS = ("o", "s", "^", "D", "v", "P")
PUBLISHED_MARKERS = ("*", "X", "p", "h")


def draw_outdated(results: Results, wanted: Sequence[tuple[str, str]]) -> list[Path]:
    """Draw those figures whose results have changed since they were drawn.

    Args:
      results: the results.
      wanted: what each figure shows, and the task.

    Returns:
      The files written.
    """
    drawn = []
    for what, task in wanted:
        path, figure = results.folder / figure_name(what, task), draw_figure(results, what, task)
        now = digest(figure)
        if digest_of(path) != now:
            path.parent.mkdir(exist_ok=True)
            FigureCanvasAgg(figure).print_png(str(path), metadata={DIGEST: now})
            drawn.append(path)
    return drawn


def draw_figure(results: Results, what: str, task: str) -> Figure:
    """A figure of the page.

    Args:
      results: the results.
      what: what the figure shows.
      task: the task.
    """
    return DRAW[what](results.of_task(task), results.published.get(task, []))


def digest(figure: Figure) -> str:
    """A digest of what a figure shows; its pixels differ between versions of Matplotlib.

    Points have six digits, as the ends of an interval differ by rounding between machines.
    """
    shown: list[Any] = [figure.get_size_inches().tolist()]
    for axes in figure.axes:
        shown.append((axes.get_title(), axes.get_title("left"), axes.get_xlabel()))
        shown.append((axes.get_ylabel(), axes.get_xscale(), axes.get_yscale()))
        for line in axes.lines:
            shown.append((line.get_label(), _hex(line.get_color()), line.get_linestyle()))
            shown.append((str(line.get_marker()), line.get_linewidth()))
            shown.append(_rounded(line.get_xydata()))
        for collection in axes.collections:
            colours = [*map(_hex, collection.get_facecolor())]
            parts = [_rounded(path.vertices) for path in collection.get_paths()]
            shown.append((collection.get_label(), colours, parts))
        for patch in axes.patches:
            outline = patch.get_patch_transform().transform_path(patch.get_path())
            shown.append((patch.get_label(), _rounded(outline.vertices)))
    for legend in [*(axes.get_legend() for axes in figure.axes), *figure.legends]:
        shown.append([text.get_text() for text in legend.get_texts()] if legend else None)
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def _hex(colour: Any) -> str:
    return to_hex(colour, keep_alpha=True)


def _rounded(points: Any) -> list[list[str]]:
    return [[f"{value:.6g}" for value in point] for point in np.asarray(points, np.float64)]


def digest_of(path: Path) -> str | None:
    """The digest in a picture, or None if there is no picture or none in it."""
    try:
        with Image.open(path) as image:
            return image.info.get(DIGEST)
    except OSError:
        return None


def learning_curves(rows: Sequence[Row], published: Sequence[Published] = ()) -> Figure:
    """The metric of all rows against updates: a colour for each setting, a line for each arm.

    The mean over seeds of the rows with a goal has its interval as a band.

    Args:
      rows: the rows of one task, ordered by length.
      published: not drawn.
    """
    del published
    task = rows[0].task
    settings = list(dict.fromkeys(row.setting for row in rows))
    arms = _first_with_goal(rows, lambda row: row.arm)
    figure, axes = new_figure(10.0, 5.0)
    for row in rows:
        colour = _colour(settings.index(row.setting), len(settings))
        curve = mean_curve(row.seeds, task.metric)
        style = _line(row.arm, arms)
        if row.is_main:
            axes.fill_between(
                curve.updates, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0
            )
        axes.plot(
            curve.updates,
            curve.mean,
            color=colour,
            linestyle=style,
            linewidth=2.0 if row.is_main else 1.2,
        )
    _legend_of_rows(axes, rows, settings, arms)
    _baselines(axes, rows)
    for name, goal in goals(task).items():
        if goal.metric == task.metric:
            axes.axhline(goal.threshold, color=GREY, linewidth=1, label=f"{name}: {goal}", zorder=1)
    axes.set_yscale(task.metric_scale)
    axes.set_xscale("log")
    _plain(axes.xaxis)
    axes.set(
        xlabel="updates",
        ylabel=f"{task.metric.replace('_', ' ')}, held-out",
        title=f"{task.name}: mean over the seeds, and its 95% interval",
    )
    legend_beside(axes)
    return figure


def _legend_of_rows(
    axes: Axes, rows: Sequence[Row], settings: Sequence[str], arms: Sequence[str]
) -> None:
    """An entry for the colour of every setting, and one for the line of every arm."""
    for i, setting in enumerate(settings):
        counts = [len(row.seeds) for row in rows if row.setting == setting]
        label = f"{setting}, {_seeds(max(counts))}"
        axes.plot([], [], color=_colour(i, len(settings)), linewidth=2.0, label=label)
    for arm in arms if len(arms) > 1 else ():
        axes.plot([], [], color=INK, linestyle=_line(arm, arms), linewidth=1.2, label=arm)


def _line(arm: str, arms: Sequence[str]) -> str:
    return LINES[arms.index(arm) % len(LINES)]


def against_length(rows: Sequence[Row], published: Sequence[Published]) -> Figure:
    """Updates and sequences to solve against length, beside published results.

    A point is the median over seeds by Kaplan & Meier with its interval, dots are seeds. An arrow
    is at the last update of an arm of which half of the seeds or more are not solved.

    Args:
      rows: the rows of one task, ordered by length.
      published: results of others.
    """
    task, lines = rows[0].task, _first_with_goal(rows, lambda row: row.arm_and_variant)
    figure = Figure(figsize=(12.5, 5.0), layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2, sharex=True)
    for axes, unit in ((left, "updates"), (right, "sequences")):
        axes.spines[["top", "right"]].set_visible(False)
        for i, label in enumerate(lines):
            of_line = [row for row in rows if row.arm_and_variant == label]
            _line_against_length(axes, of_line, label, i, unit)
        for i, other in enumerate(published):
            factor = other.batch_size if unit == "sequences" else 1
            axes.plot(
                [point.length for point in other.points],
                [point.updates * factor for point in other.points],
                color=INK,
                linestyle=":",
                marker=PUBLISHED_MARKERS[i % len(PUBLISHED_MARKERS)],
                markersize=10,
                label=f"{other.name}, published, updates of {other.batch_size}",
            )
        if any(not math.isfinite(median_time(row.times()).value) for row in rows):
            arrow = {"marker": r"$\uparrow$", "markersize": 10, "linestyle": ""}
            label = "half of the seeds or more are not solved by then"
            axes.plot([], [], color=GREY, label=label, **arrow)
        axes.set(xscale="log", yscale="log", ylabel=f"{unit} to solve")
        lengths = {row.length for row in rows if row.length is not None}
        lengths |= {point.length for other in published for point in other.points}
        _plain(axes.yaxis)
        _plain(axes.xaxis, sorted(lengths))
        axes.tick_params(axis="x", rotation=45)
        axes.set_xlabel(f"{_spaced(length_field(task) or 'length')} of the sequences")
    left.set_title(f"{task.name}: solved is {task.solved}", loc="left")
    right.set_title("median and its 95% interval; dots are seeds", loc="left")
    legend_beside(right)
    return figure


def extrapolation(rows: Sequence[Row], published: Sequence[Published] = ()) -> Figure:
    """The task's metric at other lengths than those of the training, of the rows that have it.

    Args:
      rows: the rows of one task.
      published: not drawn.

    Raises:
      UserError: if no row has been measured at other lengths.
    """
    del published
    task = rows[0].task
    measured, trained = {}, {}
    for row in rows:
        if task.metric in row.at_lengths:
            label = f"{row.setting}, {row.arm}"
            measured[label] = row.at_lengths[task.metric]
            trained[label] = trained_lengths(row.task)
    if not measured:
        raise UserError(
            f"extrapolation {task.name}: no run of the task has a {LENGTHS_FILE}, which"
            " draw RUN --figure lengths writes"
        )
    return draw_other_lengths(task, measured, trained=trained)


def _line_against_length(axes: Axes, rows: Sequence[Row], label: str, i: int, unit: str) -> None:
    colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
    x, middle, low, high = [], [], [], []
    style: dict[str, Any] = {"color": colour, "linestyle": ""}
    # Arms stand a little beside each other.
    shift = 1 + 0.08 * i
    for row, length in ((row, row.length * shift) for row in rows if row.length is not None):
        factor = row.sequences_per_update if unit == "sequences" else 1
        times = row.times()
        seeds = times.at[times.happened] * factor
        axes.plot([length] * len(seeds), seeds, marker=".", alpha=0.5, **style)
        median = median_time(times)
        if not math.isfinite(median.value):
            last = times.at[-1] * factor
            axes.plot([length], [last], marker=r"$\uparrow$", markersize=13, **style)
            continue
        x.append(length)
        middle.append(median.value * factor)
        low.append((median.value if median.low is None else median.low) * factor)
        # Where the end is not reached, the bar goes up to the last update.
        end = median.value if median.high is None else median.high
        high.append((end if math.isfinite(end) else times.at[-1]) * factor)
    bars = [np.subtract(middle, low), np.subtract(high, middle)]
    axes.errorbar(
        x,
        middle,
        yerr=bars if x else None,
        color=colour,
        linestyle="-" if len(x) > 1 else "",
        marker=marker,
        markersize=7,
        markerfacecolor="white",
        capsize=4,
        label=label,
    )


def _baselines(axes: Axes, rows: Sequence[Row]) -> None:
    """The baselines that are the same for all rows."""
    found: dict[str, set[float]] = {}
    for row in rows:
        for run in row.result.runs:
            for name, value in run.baselines.items():
                found.setdefault(name, set()).add(value)
    same = {name: next(iter(values)) for name, values in found.items() if len(values) == 1}
    for i, (name, value) in enumerate(same.items()):
        axes.axhline(value, **reference_style(i), label=f"{name}: {value:.4g}")


def _first_with_goal(rows: Sequence[Row], name: Callable[[Row], str]) -> list[str]:
    """The names of rows, each once, those of rows with a goal first."""
    ordered = sorted(rows, key=lambda row: not row.is_main)
    return list(dict.fromkeys(map(name, ordered)))


def _colour(index: int, count: int) -> Any:
    """From dark to light with the length."""
    return colormaps["viridis"](0.85 * index / max(count - 1, 1))


def _plain(axis: Axis, ticks: Sequence[int] | None = None) -> None:
    """A logarithmic axis with whole numbers, at 1, 2 and 5 times a power of ten or where given."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if ticks is None else FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _spaced(name: str) -> str:
    return name.replace("_", " ")


DRAW: dict[str, Callable[[Sequence[Row], Sequence[Published]], Figure]] = {
    "curves": learning_curves,
    "lengths": against_length,
    "extrapolation": extrapolation,
}
"""The figures of a page, by the first word of their markers."""
