"""The colours, lines and axes that all figures share."""

from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.text import wrap_at_commas

BLUE, ORANGE, GREY, GREEN, INK = "#1f6fb4", "#d9661f", "#8a8a8a", "#2f8f4e", "#222222"

# Of Okabe & Ito (2008), told apart with every kind of colour blindness; brown instead of the black
# that means and texts have.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5230")
LINES = ("-", "--", "-.", ":")
LEGEND_WIDTH = 30
# Inches a line, with the space between two entries.
LINE_HEIGHT = 0.2


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, without the frame at the top and right.

    Args:
      width: inches.
      height: inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def line_style(index: int) -> dict[str, Any]:
    """Colour and line of one of several curves: 28 differ.

    >>> line_style(0), line_style(8)
    ({'color': '#0072B2', 'linestyle': '-'}, {'color': '#D55E00', 'linestyle': '-.'})
    """
    again, colour = divmod(index, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": LINES[(colour + again) % len(LINES)]}


def seed_colour(index: int, count: int) -> Any:
    """The colour of one of several seeds: its own, or for many one on a scale."""
    if count <= len(COLOURS):
        return COLOURS[index]
    return colormaps["viridis"](0.9 * index / (count - 1))


def reference_style(index: int) -> dict[str, Any]:
    """Colour and line of one of several baselines, none of them solid.

    >>> reference_style(0)
    {'color': '#8a8a8a', 'linestyle': '--', 'linewidth': 1.2, 'zorder': 1}
    """
    dashes = LINES[1:][index % len(LINES[1:])]
    return {"color": GREY, "linestyle": dashes, "linewidth": 1.2, "zorder": 1}


def legend_beside(axes: Axes) -> None:
    """Draw the legend to the right of the axes, where it covers no data.

    A figure of one pair of axes is made as high as its legend.
    """
    handles, labels = axes.get_legend_handles_labels()
    labels = [wrap_at_commas(label, LEGEND_WIDTH) for label in labels]
    axes.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        fontsize=9,
        borderaxespad=0.0,
        handlelength=2.6,
    )
    figure, lines = axes.get_figure(root=True), sum(label.count("\n") + 1 for label in labels)
    if figure is not None and len(figure.axes) == 1:
        figure.set_figheight(max(figure.get_figheight(), LINE_HEIGHT * lines + 0.8))
