"""A picture of the gates of a model over one sequence."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from experiments.inspection.layers import LayerTrace
from experiments.inspection.sequence import SequenceTrace
from experiments.tasks.figure_style import BLUE, ORANGE

GATE_NAMES = {
    "i": "input gate",
    "f": "forget gate",
    "o": "output gate",
    "g": "candidate",
    "r": "reset gate",
    "z": "update gate",
    "n": "candidate",
    "q": "query",
    "k": "key",
    "v": "value",
}
"""What the gates are called; a cell may have others."""

LINES = 4
"""Most features that are drawn as lines; more are an image."""
COLOURS = (BLUE, ORANGE, "#228833", "#aa3377")


def draw_gates(trace: SequenceTrace, units: int = 12) -> Figure:
    """Draw the inputs, gates, memory and outputs of every layer over one sequence.

    Args:
      trace: the layers over the sequence.
      units: number of units of each layer, those whose memory changes most over time; they are
        sorted by the step at which it changes most.

    Returns:
      A figure with one column for each layer and direction.

    Raises:
      ValueError: if `units` is less than 1.
    """
    if units < 1:
        raise ValueError(f"draw_gates: units must be at least 1; got {units}")
    panels = [layer_panels(layer, units, trace.length) for layer in trace.layers]
    most = max(map(len, panels))
    columns = len(panels)
    figure = Figure(
        figsize=(9.0 if columns == 1 else 1.0 + 5.5 * columns, 1.3 * (most + 2)),
        layout="constrained",
        dpi=100,
    )
    grid = figure.subplots(
        most + 2, columns, squeeze=False, sharex=True, height_ratios=[1.0, *[1.5] * most, 1.2]
    )
    for column, (layer, of_layer) in enumerate(zip(trace.layers, panels, strict=True)):
        top, *middle, bottom = grid[:, column]
        _draw_inputs(top, trace)
        name = "" if columns == 1 else f"{layer.name}\n"
        top.set_title(f"{name}inputs", loc="left", fontsize=10)
        for axes, (title, values) in zip(middle, of_layer.items(), strict=False):
            _draw_units(axes, title, values)
        for axes in middle[len(of_layer) :]:
            axes.set_visible(False)
        _draw_outputs(bottom, trace)
        bottom.set_xlabel("time step")
        bottom.set_xlim(-0.5, trace.length - 0.5)
    figure.suptitle(f"{trace.title}, {units} units of a layer at most")
    return figure


def layer_panels(layer: LayerTrace, units: int, length: int) -> dict[str, np.ndarray]:
    """What is drawn of a layer: its gates and its memory, of chosen units.

    Args:
      layer: the states and gates of the layer over one sequence.
      units: number of units.
      length: number of valid steps.

    Returns:
      Values ``[length, units]`` by title.
    """
    memory = _flat(np.asarray(layer.memory), length)
    order = chosen_units(memory, units)
    panels = {}
    fields = () if layer.gates is None else getattr(layer.gates, "_fields", range(len(layer.gates)))
    for name, values in zip(fields, layer.gates or (), strict=True):
        flat = _flat(values, length)
        # A gate of a head, or a key, has other units than the memory.
        same = flat.shape[1] == memory.shape[1]
        panels[_title(layer, name)] = flat[:, order if same else chosen_units(flat, units)]
    has_cell_state = any(hasattr(layer.states, name) for name in ("c", "C"))
    panels["cell state" if has_cell_state else "hidden state"] = memory[:, order]
    return panels


def chosen_units(values: np.ndarray, count: int) -> np.ndarray:
    """The units that change most over time, in the order of their largest steps.

    Args:
      values: ``[T, H]``.
      count: most units to choose.

    Returns:
      Their indices.

    >>> chosen_units(np.array([[0.0, 0.0, 0.0], [0.0, 2.0, 0.1], [1.0, 2.0, 0.1]]), 2)
    array([1, 0])
    """
    most = np.argsort(-values.std(axis=0), kind="stable")[:count]
    if len(values) < 2:
        return most
    steps = np.abs(np.diff(values[:, most], axis=0)).argmax(axis=0)
    return most[np.argsort(steps, kind="stable")]


def _draw_inputs(axes: Axes, trace: SequenceTrace) -> None:
    inputs = trace.inputs[: trace.length]
    features = _flat(inputs, trace.length)
    if inputs.ndim > 1 and features.shape[1] > LINES:
        _image(axes, features)
        axes.set(ylabel="features", yticks=[])
        return
    axes.set_ylabel("class" if inputs.ndim == 1 else "value")
    for values, colour in zip(features.T, COLOURS, strict=False):
        marks = np.flatnonzero(values)
        # A feature that is mostly zero marks steps.
        if inputs.ndim > 1 and len(marks) <= len(values) / 4:
            axes.vlines(marks, 0, values[marks], color=colour, linewidth=2)
        else:
            axes.step(np.arange(len(values)), values, where="mid", color=colour, linewidth=1)


def _draw_units(axes: Axes, title: str, values: np.ndarray) -> None:
    axes.figure.colorbar(_image(axes, values), ax=axes, pad=0.01, aspect=10)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set(ylabel="units", yticks=[])


def _draw_outputs(axes: Axes, trace: SequenceTrace) -> None:
    outputs, t = _flat(trace.outputs, trace.length), np.arange(trace.length)
    if outputs.shape[1] > LINES:
        # More outputs than lines are those of classes.
        axes.step(t, outputs.argmax(axis=1), where="mid", color=BLUE, label="most likely class")
        axes.set_ylabel("class")
    else:
        for k, values in enumerate(outputs.T):
            axes.plot(t, values, color=BLUE, linewidth=1.2, label="output" if k == 0 else None)
    targets = trace.targets
    if isinstance(targets, np.ndarray) and targets.ndim <= 2:
        # A target of one step is that of the last.
        at = t[-1:] if len(targets) == 1 else t
        points = _flat(targets, trace.length)
        for k, values in enumerate(points.T):
            label = "target" if k == 0 else None
            axes.scatter(at, values, s=14, color=ORANGE, zorder=3, label=label)
    axes.set_title("outputs", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0))


def _image(axes: Axes, values: np.ndarray) -> AxesImage:
    """Units down and time across; the colours of numbers of both signs meet at zero."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low < 0:
        bound = max(-low, high)
        colours, low, high = "RdBu_r", -bound, bound
    else:
        colours, low, high = "cividis", 0.0, max(1.0, high)
    image = values.astype(np.float32).T
    return axes.imshow(
        image, aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high
    )


def _title(layer: LayerTrace, name: str | int) -> str:
    candidate = name == "z" and hasattr(layer.gates, "i")
    known = "candidate" if candidate else GATE_NAMES.get(str(name), "gate")
    return f"{known} {name}"


def _flat(values: np.ndarray, length: int) -> np.ndarray:
    """The valid steps, with all other axes as units ``[length, H]``."""
    valid = np.asarray(values)[:length]
    return valid.reshape(len(valid), -1)
