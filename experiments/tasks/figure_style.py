"""The colours and axes that all figures share."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREY, GREEN = "#1f6fb4", "#d9661f", "#8a8a8a", "#2f8f4e"


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
