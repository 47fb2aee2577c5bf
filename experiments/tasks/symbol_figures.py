"""Figures of sequences of symbols: coloured cells, and which symbols are kept at which steps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from experiments.tasks.figure_style import GREY, ORANGE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PALETTE = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99",
    "#332288",
)  # fmt: skip
BLANK, DELIMITER = "#f2f2f2", "#222222"
MOST_CELLS = 120
"""Steps that fit on a figure with a cross at wrong answers."""
PROBED = 1000
"""Sequences that linear probes are fitted to and tried on."""


def symbol_colours(alphabet: int) -> ListedColormap:
    """A colour for every symbol, then those of blank and of the delimiter."""
    if alphabet <= len(PALETTE):
        symbols = list(PALETTE[:alphabet])
    else:
        symbols = [colormaps["turbo"](k / (alphabet - 1)) for k in range(alphabet)]
    return ListedColormap([*symbols, BLANK, DELIMITER])


def symbol_cells(
    panels: Mapping[str, np.ndarray],
    alphabet: int,
    wrong: np.ndarray,
    shown_apart: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """Sequences as rows of coloured cells, in panels below each other.

    Args:
      panels: classes ``[sequences, T]`` by the name of a panel, the network's last: the symbols
        from 0, then blank and delimiter. Masked cells are white.
      alphabet: number of symbols.
      wrong: which cells of the last panel are wrong ``[sequences, T]``, of its part shown apart
        if there is one.
      shown_apart: a part of every panel that is drawn larger beside it.
    """
    colours = symbol_colours(alphabet)
    figure = Figure(figsize=(9.0, 1.8 * len(panels)), layout="constrained", dpi=150)
    columns = [panels] if shown_apart is None else [panels, shown_apart]
    widths = [1] if shown_apart is None else [2, 1]
    grid = figure.subplots(
        len(panels), len(columns), sharex="col", squeeze=False, width_ratios=widths
    )
    for column, each in enumerate(columns):
        for row, (name, classes) in enumerate(each.items()):
            axes = grid[row, column]
            axes.imshow(
                classes, cmap=colours, vmin=-0.5, vmax=alphabet + 1.5, aspect="auto",
                interpolation="nearest",
            )  # fmt: skip
            axes.set_yticks([0, len(classes) - 1], ["1", str(len(classes))])
            if column == 0:
                axes.set_ylabel(f"{name}\nsequence")
        grid[-1, column].set_xlabel("time step" if column == 0 else "step of the recall")
    for row, t in np.argwhere(wrong):
        grid[-1, -1].text(t, row, "×", ha="center", va="center", color="black", fontsize=9)
    return figure


def symbol_legend(figure: Figure, alphabet: int, delimiter: str | None = "delimiter") -> None:
    """A legend below a figure: the colours of the symbols, of blank, and of a delimiter if any."""
    colours = symbol_colours(alphabet)
    handles = [
        Patch(color=colours(k), label=f"symbol {k + 1}")
        for k in (range(alphabet) if alphabet <= len(PALETTE) else (0, alphabet - 1))
    ]
    handles.append(Patch(facecolor=colours(alphabet), edgecolor=GREY, label="blank"))
    if delimiter is not None:
        handles.append(Patch(color=colours(alphabet + 1), label=delimiter))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)


def kept_symbols(
    axes: Axes,
    accuracy: "ArrayLike",
    steps: Sequence[int],
    spans: Sequence[tuple[int, int]],
    chance: float,
) -> None:
    """The share of symbols that a probe tells, for every symbol and step.

    Args:
      axes: what to draw into.
      accuracy: the shares ``[K, S]``.
      steps: the steps of the probes, ascending.
      spans: of every symbol, the step at which it is read and the last at which it is wanted.
      chance: the share that guessing gives.
    """
    accuracy = np.asarray(accuracy)
    middles = (np.asarray(steps[1:]) + np.asarray(steps[:-1])) / 2
    edges = [steps[0] - 0.5, *middles, steps[-1] + 0.5]
    rows = np.arange(len(accuracy) + 1) + 0.5
    image = axes.pcolormesh(edges, rows, accuracy, cmap="viridis", vmin=chance, vmax=1.0)
    for row, (read, wanted) in enumerate(spans, start=1):
        axes.plot([read, read], [row - 0.5, row + 0.5], color="white", linewidth=1.5)
        axes.plot([wanted, wanted], [row - 0.5, row + 0.5], color=ORANGE, linewidth=1.5)
    axes.set_ylim(len(accuracy) + 0.5, 0.5)
    axes.set_yticks([1, len(accuracy)])
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.colorbar(image, ax=axes, label="told by a linear probe", pad=0.01, aspect=14)


def probed_steps(length: int, most: int = MOST_CELLS) -> list[int]:
    """At most ``most`` steps, evenly spaced from the first to the last.

    >>> probed_steps(5), probed_steps(1000, 4)
    ([0, 1, 2, 3, 4], [0, 333, 666, 999])
    """
    return [int(step) for step in np.linspace(0, length - 1, min(length, most))]
