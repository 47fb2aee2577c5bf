"""The colours, lines and axes that all figures share."""

import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#1f6fb4", "#d9661f", "#8a8a8a"

# Okabe & Ito (2008): told apart with every kind of colour blindness, on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LEGEND_WIDTH = 30


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


def legend_beside(axes: Axes) -> None:
    """Draw the legend to the right of the axes, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    labels = ["\n".join(textwrap.wrap(label, LEGEND_WIDTH)) for label in labels]
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
