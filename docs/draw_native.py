"""Draws the pictures of backends.md: ``python docs/draw_native.py``."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

IMAGES = Path(__file__).parent / "images"
BLUE, ORANGE, GREY, LIGHT, PALE = "#1f6fb4", "#d9661f", "#8a8a8a", "#cccccc", "#f2f2f2"
SHADES = ["#2f74ad", "#74aad3", "#abcde5", "#dbe9f3"]
GATES = {"i": "#3f7fb5", "f": "#8fbadc", "g": "#eda878", "o": "#c4c4c4"}


def canvas(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """A figure to draw on in units of an inch."""
    figure = Figure(figsize=(width, height), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    axes.text(width / 2, height - 0.25, title, ha="center", va="center", fontsize=12)
    return figure, axes


def box(axes: Axes, x: float, y: float, width: float, height: float, color: str, **how: object):
    """A rectangle, by its lower left corner."""
    style = {"facecolor": color, "edgecolor": "black", "linewidth": 0.8, **how}
    axes.add_patch(Rectangle((x, y), width, height, **style))


def text(axes: Axes, x: float, y: float, words: str, size: float = 9, **how: object):
    """Words, centred."""
    axes.text(x, y, words, **{"ha": "center", "va": "center", "fontsize": size, **how})


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], **how: object):
    """An arrow between two points."""
    style = {"arrowstyle": "-|>", "color": "black", "linewidth": 1, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops={**style, "mutation_scale": 9, **how})


def threads() -> Figure:
    """What a thread owns: rows for all steps, or units with a meeting at every step."""
    figure, axes = canvas(9.0, 4.2, "What a thread owns")
    band, bottom, wide = 0.56, 1.12, 3.6
    for left, what in ((0.75, "rows of the batch"), (5.15, "hidden units")):
        text(axes, left - 0.25, bottom + 2 * band, what, rotation=90)
        text(axes, left + wide / 2, bottom - 0.22, "time step")
    for k, shade in enumerate(SHADES):
        y, ink = bottom + (3 - k) * band, "white" if k == 0 else "black"
        box(axes, 0.75, y, wide, band, shade, edgecolor="white", linewidth=2)
        text(axes, 0.95, y + band / 2, f"thread {k + 1}", color=ink, ha="left")
        arrow(axes, (1.85, y + band / 2), (4.15, y + band / 2), color=ink, linewidth=1.2)
        for n in range(6):
            box(axes, 5.15 + n * 0.6, y, 0.44, band, shade, edgecolor="white", linewidth=2)
        text(axes, 5.37, y + band / 2, str(k + 1), color=ink)
    for n in range(1, 6):
        x = 5.07 + n * 0.6
        axes.plot([x, x], [bottom - 0.04, bottom + 4 * band + 0.04], color=ORANGE, linewidth=1.6)
    for k in range(4):
        to = (5.17 + 3 * 0.6, bottom + (2.5 - 0.2 * (k - 1.5)) * band)
        arrow(axes, (5.42 + 2 * 0.6, bottom + (3.5 - k) * band), to, linewidth=0.9)
    text(axes, 2.55, 3.6, "Rows, for all steps: no waiting", 10.5, color=BLUE)
    text(axes, 6.95, 3.6, "Units: all meet after every step", 10.5, color=ORANGE)
    text(axes, 2.55, 0.42, "reads all weights,\nand the hidden states of its own rows")
    text(axes, 6.95, 0.42, "reads the weights of its own units,\nand the hidden states of all")
    return figure


def tile() -> Figure:
    """The register tile of the forward pass, and the weights packed for it."""
    figure, axes = canvas(9.0, 5.7, "Six rows of sixteen units, in registers")
    left, unit, row = 3.25, 0.85, 0.2  # of the sums: left edge, width of a vector, height of a row
    K, top, low = 12, 2.8, 0.95
    # The weights as they are given, and the panel of one vector of units.
    for b, (gate, color) in enumerate(GATES.items()):
        x = 0.45 + b * 0.53
        box(axes, x, top, 0.53, K * 0.15, PALE)
        box(axes, x + 0.13, top, 0.13, K * 0.15, color, linewidth=0)
        text(axes, x + 0.265, top + K * 0.15 + 0.13, gate)
        box(axes, left + b * unit, top, unit, K * 0.15, color)
        text(axes, left + (b + 0.5) * unit, top + K * 0.15 + 0.13, f"{gate}, 16 units")
        for r in range(6):
            box(axes, left + b * unit, low + r * row, unit, row, color, linewidth=0.5)
        text(axes, left + (b + 0.5) * unit, low - 0.16, gate)
    text(axes, 1.51, top + K * 0.15 + 0.4, "weights [K, 4H]", 9.5)
    text(axes, left + 2 * unit, top + K * 0.15 + 0.4, "packed [K][4 gates][16]", 9.5)
    arrow(axes, (2.67, top + K * 0.075), (left - 0.1, top + K * 0.075), linewidth=1.4)
    text(axes, 2.9, top + K * 0.075 + 0.2, "pack", 8.5)
    # Row k of the panel times number k of each row.
    at = 7
    y, x = top + at * 0.15, 0.45 + (K - 1 - at) * 0.177
    box(axes, left, y, 4 * unit, 0.15, "none", edgecolor=ORANGE, linewidth=2)
    box(axes, 0.45, low, K * 0.177, 6 * row, PALE)
    for r in range(1, 6):
        axes.plot([0.45, 0.45 + K * 0.177], [low + r * row] * 2, color="black", linewidth=0.5)
    box(axes, x, low, 0.177, 6 * row, ORANGE, alpha=0.35)
    box(axes, x, low, 0.177, 6 * row, "none", edgecolor=ORANGE, linewidth=2)
    text(axes, left + 4 * unit + 0.12, y + 0.075, "4 loads", 8.5, color=ORANGE, ha="left")
    text(axes, x + 0.09, low + 6 * row + 0.12, "6 numbers, each spread\nover a vector", 8.5,
         color=ORANGE, va="bottom")  # fmt: skip
    text(axes, 1.51, low - 0.25, "6 rows of $h_{t-1}$ (or $x_t$) [6, K]", 9.5)
    text(axes, left + 2 * unit, low - 0.45, "24 sums, for all K in 24 of the 32 registers", 9.5)
    text(axes, left + 2 * unit, low + 6 * row + 0.33, "24 multiply-adds", 8.5, color=ORANGE)
    arrow(axes, (2.67, low + 3 * row), (left - 0.1, low + 3 * row), linewidth=1.4)
    # What is stored.
    end = left + 4 * unit
    arrow(axes, (end + 0.08, low + 3 * row), (end + 1.22, low + 3 * row), linewidth=1.4)
    text(
        axes,
        end + 0.62,
        low + 3 * row + 0.36,
        "gates, then\n$c_t = f c_{t-1} + i g$\n$h_t = o\\,\\tanh c_t$",
        8.5,
    )
    for k, name in enumerate(("$c_t$", "$h_t$")):
        box(axes, end + 1.3, low + (0.68 if k == 0 else -0.02), unit, 0.54, SHADES[2])
        text(axes, end + 1.3 + unit / 2, low + (0.95 if k == 0 else 0.25), name, 10)
    text(axes, end + 1.3 + unit / 2, low - 0.3, "stored:\n6 rows of 16 units", 8.5)
    return figure


def backward() -> Figure:
    """The backward pass: a chunk of steps, then the sums of the weights' gradients."""
    figure, axes = canvas(9.0, 6.4, "A thread's backward pass, a chunk of steps at a time")
    # All steps.
    cell, left, y = 0.3, 1.35, 5.2
    for k in range(24):
        color = LIGHT if k >= 16 else SHADES[1] if k >= 11 else "white"
        box(axes, left + k * cell, y, cell, 0.3, color, edgecolor=GREY, linewidth=0.6)
    for at, words, color in ((5.5, "to come", "white"), (13.5, "this chunk", SHADES[1]),
                             (20, "done", LIGHT)):  # fmt: skip
        style = {"facecolor": color, "edgecolor": "none", "pad": 1.5}
        text(axes, left + at * cell, y + 0.15, words, bbox=style)
    text(axes, left - 0.12, y + 0.15, "time step 1", ha="right")
    text(axes, left + 24 * cell + 0.12, y + 0.15, "T", ha="left")
    arrow(axes, (left + 24 * cell, y + 0.48), (left, y + 0.48), linewidth=1.4)
    # The buffer.
    slot, first, floor = 1.1, 1.2, 3.5
    chunk = [(left + 11 * cell, y), (left + 16 * cell, y)]
    chunk += [(first + 5 * slot, floor + 0.46), (first, floor + 0.46)]
    axes.add_patch(Polygon(chunk, facecolor=PALE, edgecolor="none", zorder=0))
    names = ["$dz_{t-4}$", "$dz_{t-3}$", "$dz_{t-2}$", "$dz_{t-1}$", "$dz_t$", "$dz_{t+1}$"]
    for k, name in enumerate(names):
        color = SHADES[2] if k < 5 else "#f3cdb4"
        box(axes, first + k * slot, floor, slot, 0.46, color)
        text(axes, first + (k + 0.5) * slot, floor + 0.23, name, 10.5)
        if k < 5:
            start = (first + (k + 1.45) * slot, floor + 0.52)
            arrow(axes, start, (first + (k + 0.55) * slot, floor + 0.52),
                  connectionstyle="arc3,rad=0.35")  # fmt: skip
    text(axes, first + 2.95 * slot, floor + 0.98, "a step: $dh = dz_{t+1} R^T + dh_t$, then back"
         " through the saved gates and $c$")  # fmt: skip
    text(axes, first + 5.5 * slot + 0.68, floor + 0.23, "copied from\nthe chunk\nbefore", 8.5,
         color=ORANGE, ha="left")  # fmt: skip
    text(axes, first - 0.12, floor + 0.23, "dz [rows, 4H]\nof each step", 8.5, ha="right")
    arrow(axes, (first + 0.3 * slot, floor - 0.06), (first + 5.5 * slot, floor - 0.06),
          color=ORANGE, connectionstyle="arc3,rad=0.09")  # fmt: skip
    text(axes, first + 2.9 * slot, floor - 0.55, "copied when the chunk is done", 8.5, color=ORANGE)
    # The sums.
    foot, tall, parts = 0.85, 1.5, (("$h_{t-1}$", 0.5), ("$x_t$", 0.36), ("1", 0.14))
    labels = ("$dR$ [H, 4H]", "$dW$ [I, 4H]", "$db$ [4H]")
    level = foot + tall
    for (name, share), label, shade in zip(parts, labels, SHADES[1:], strict=True):
        level -= share * tall
        box(axes, 1.2, level, 1.8, share * tall, shade)
        text(axes, 2.1, level + share * tall / 2, name, 10)
        box(axes, 6.0, level, 1.8, share * tall, shade)
        text(axes, 6.9, level + share * tall / 2, label, 9.5)
    middle = foot + tall / 2
    text(axes, 3.25, middle, "×", 15)
    box(axes, 3.5, foot - 0.15, 1.9, 1.8, SHADES[2])
    text(axes, 4.45, middle, "dz of the chunk", 9.5)
    text(axes, 5.7, middle + 0.17, "added", 8.5)
    arrow(axes, (5.47, middle), (5.93, middle), linewidth=1.4)
    text(axes, 1.02, middle, "H + I + 1", rotation=90)
    text(axes, 2.1, foot - 0.2, "up to 128 rows of steps")
    text(axes, 4.45, foot - 0.33, "4H")
    text(axes, 6.9, foot - 0.2, "this thread's sums")
    words = "After the last chunk the sums of all threads are added, in the order of the threads."
    text(axes, 4.5, 0.2, words)
    return figure


def main() -> None:
    """Draw and save all of them."""
    for figure, name in ((threads(), "threads"), (tile(), "tile"), (backward(), "backward")):
        metadata = {"Software": None}  # the same bytes for any version of matplotlib
        path = str(IMAGES / f"native_{name}.png")
        FigureCanvasAgg(figure).print_png(path, metadata=metadata)


if __name__ == "__main__":
    main()
