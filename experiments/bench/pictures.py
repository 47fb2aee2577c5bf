"""The picture of a result; the only module of the benchmarks that imports matplotlib."""

import io
import math

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.bench.results import Result, find
from experiments.bench.tables import Block, Column, blocks
from experiments.numbers import three_digits

OURS = ("#1f6fb4", "#0b3d66", "#5aa9e6", "#9ecae9", "#c6dbef", "#2e8b8b", "#7cc4bf")
THEIRS = ("#d9661f", "#8c2d04", "#fdae6b", "#74a057", "#9467bd", "#8a8a8a", "#c9a227")


def draw(result: Result) -> bytes:
    """The picture of a result, as PNG.

    Suites along a size have lines, other suites bars: of ratios for times of different cases, of
    the values otherwise.

    Args:
      result: the result, from `results.build` or `results.read`.
    """
    every, lines = blocks(result), any(case["group"] for case in result["cases"])
    columns = 2 if lines else 1
    rows = math.ceil(len(every) / columns)
    figure = Figure(figsize=(9.0, 1.4 + 2.9 * rows), layout="constrained", dpi=150)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    handles: dict[str, Artist] = {}
    for axes, block in zip(panels, every, strict=False):
        (_lines if lines else _bars)(axes, block, result)
        axes.set_title(block.format.title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        found = axes.get_legend_handles_labels()
        handles |= dict(zip(found[1], found[0], strict=True))
    for axes in panels[len(every) :]:
        axes.set_visible(False)
    figure.suptitle(f"{result['title']}: {_where(result)}", fontsize=11)
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=4, frameon=False,
        fontsize=9,
    )  # fmt: skip
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def colours(result: Result) -> dict[str, str]:
    """A colour for every implementation; this library's are blue.

    Args:
      result: the result, from `results.build` or `results.read`.
    """
    found = {}
    for mine, palette in ((True, OURS), (False, THEIRS)):
        names = [c["name"] for c in result["implementations"] if c["ours"] is mine]
        found |= {name: palette[i % len(palette)] for i, name in enumerate(names)}
    return found


def _bars(axes: Axes, block: Block, result: Result) -> None:
    ratios = {"forward", "training", "step"} & set(result["quantities"])
    palette, described = colours(result), set()
    labels = {c["name"]: c["label"] for c in result["implementations"]}
    height = {
        (name, at): _ratio(name, column, result) if ratios else _value(name, column, block, result)
        for name in labels
        for at, column in enumerate(block.columns)
    }
    places = range(len(block.columns))
    most = max(sum(height[name, at] is not None for name in labels) for at in places)
    width = 0.86 / max(most, 1)
    for at in places:
        # An implementation without a measurement of a case leaves no gap.
        present = [name for name in labels if height[name, at] is not None]
        for i, name in enumerate(present):
            value = height[name, at] or 0.0
            label = None if name in described else labels[name]
            described.add(name)
            x = at + (i - (len(present) - 1) / 2) * width
            bar = axes.bar(x, value, width * 0.94, color=palette[name], label=label)
            text = f"{value:.2f}" if ratios else three_digits(value)
            axes.bar_label(bar, [text], fontsize=5.5, rotation=90, padding=2)
    axes.set_xticks(places, [column.heading for column in block.columns])
    axes.tick_params(axis="x", length=0)
    axes.margins(y=0.2)
    if ratios:
        axes.axhline(1, color="black", linewidth=0.7)
    axes.set_ylabel("time, lstm_jax = 1" if ratios else block.format.unit)


def _lines(axes: Axes, block: Block, result: Result) -> None:
    """Values against the number in the name of the case, and the roofline."""
    palette = colours(result)
    sizes = [float(column.heading.partition("=")[2]) for column in block.columns]
    for c in result["implementations"]:
        values = [_value(c["name"], column, block, result) for column in block.columns]
        if any(values):
            axes.plot(sizes, _or_nan(values), "o-", color=palette[c["name"]], label=c["label"],
                      markersize=3, linewidth=1.8 if c["ours"] else 1.1)  # fmt: skip
    roofline = [_roofline(column, block, result) for column in block.columns]
    axes.plot(sizes, _or_nan(roofline), "--", color="black", linewidth=1, label="roofline")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel(block.columns[0].heading.partition("=")[0])
    axes.set_ylabel(block.format.unit)


def _value(name: str, column: Column, block: Block, result: Result) -> float | None:
    entry = find(result, name, column.quantity, column.case)
    value = entry["min"].get(column.value) if entry else None
    return None if value is None else value * block.format.scale


def _ratio(name: str, column: Column, result: Result) -> float | None:
    entry = find(result, name, column.quantity, column.case)
    return entry["ratio"].get(column.value) if entry else None


def _roofline(column: Column, block: Block, result: Result) -> float | None:
    found = [e.get("roofline_seconds") for e in result["measurements"] if e["case"] == column.case]
    return next((seconds * block.format.scale for seconds in found if seconds), None)


def _or_nan(values: list[float | None]) -> list[float]:
    # A logarithmic axis cannot have missing values or zeros.
    return [value or math.nan for value in values]


def _where(result: Result) -> str:
    machine = result["machine"]
    return machine.get("gpu") or f"{machine['cores']} cores of {machine['cpu']}"
