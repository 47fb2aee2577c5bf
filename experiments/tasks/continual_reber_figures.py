"""Figures of the continual Reber grammar: what forgets at the ends of strings, and what grows."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.inspection.layers import trace_layers, unit_memories
from experiments.tasks.continual_reber import ContinualReber
from experiments.tasks.figure_style import BLUE, GREY, ORANGE
from experiments.tasks.reber_figures import draw_predictions
from experiments.tasks.reber_grammar import SYMBOLS
from experiments.tasks.task import Batch
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from experiments.model import Model, ModelParams

LONGEST = 2000
"""Most steps of the stream."""
WINDOW = 60
"""Steps in the upper panels, which start with a string."""
UNITS = 2
"""Units in the panels of the forget gate and the state."""
KEPT_FOR = 4
"""Steps for which a unit has to tell T from P; the shortest inner string has five symbols."""


class Stream(NamedTuple):
    """A network over one stream.

    Attributes:
      batch: the stream.
      outputs: activations of the outputs ``[T, 7]``.
      forget: forget gates of all layers side by side ``[T, H]``, or None without them.
      memory: the states of all layers side by side ``[T, H]``, or None if they are not of units.
    """

    batch: Batch
    outputs: Float[Array, "T 7"]
    forget: Float[Array, "T H"] | None
    memory: Float[Array, "T H"] | None


def read_stream(
    task: ContinualReber, model: "Model", params: "ModelParams", key: PRNGKey
) -> Stream:
    """Apply a model to one stream of the test length, or `LONGEST` steps.

    Args:
      task: the task.
      model: the model.
      params: its parameters.
      key: the key that the stream is drawn from.
    """
    shorter = dataclasses.replace(task, eval_length=min(task.eval_length, LONGEST))

    @jax.jit
    def applied(params: "ModelParams", key: PRNGKey) -> Stream:
        batch = shorter.sample((), "test", key, 1)
        outputs = task.probabilities(model.apply(params, batch.inputs))[:, 0]
        kept = unit_memories(model, params, batch.inputs)
        layers = trace_layers(model, params, batch.inputs)
        forget = [layer.gates.f[:, 0] for layer in layers if hasattr(layer.gates, "f")]
        same = [gate for gate in forget if gate.ndim == 2]
        return Stream(
            jax.tree.map(lambda leaf: leaf[:, 0], batch),
            outputs,
            jnp.concatenate(same, axis=-1) if same else None,
            None if kept is None else kept[:, 0],
        )

    return jax.tree.map(np.asarray, applied(params, key))


def second_last_steps(read: Int[Array | np.ndarray, " T"]) -> Int[np.ndarray, " N"]:
    """The steps at which the second-last symbols of strings are predicted: E, with E two after it.

    >>> second_last_steps(np.array([SYMBOLS.index(symbol) for symbol in "BTBTXSETEBP"]))
    array([6])
    """
    read, last = np.asarray(read), SYMBOLS.index("E")
    return np.flatnonzero((read[:-2] == last) & (read[2:] == last))


def keeping(stream: Stream) -> Int[np.ndarray, " H"]:
    """Units in the order of how well their states tell strings with T from strings with P.

    The measure is the distance of the means of the states, over the standard deviation of both
    kinds together; of its values at each of the last `KEPT_FOR` steps before the second-last symbol
    it is the smallest, as a unit that keeps the symbol has it at all of them.
    """
    assert stream.memory is not None
    read = stream.batch.inputs
    at = second_last_steps(read)
    # A stream starts with a string, so that there are as many steps before.
    state = stream.memory[at - np.arange(KEPT_FOR)[:, None]].astype(np.float32)
    T = read[at + 1] == SYMBOLS.index("T")
    if T.all() or not T.any():
        return np.arange(state.shape[-1])
    distance = np.abs(state[:, T].mean(axis=1) - state[:, ~T].mean(axis=1))
    return np.argsort(-(distance / (state.std(axis=1) + 1e-6)).min(axis=0), kind="stable")


def forgetting(
    task: ContinualReber, models: "Mapping[str, tuple[Model, ModelParams]]", key: PRNGKey
) -> Figure:
    """The outputs and the forget gate in some strings of a stream, and the states of all of it.

    Args:
      task: the task.
      models: models and their parameters by name; each has a column.
      key: the key that the stream is drawn from.
    """
    streams = {name: read_stream(task, *model, key) for name, model in models.items()}
    width = 9.0 if len(streams) == 1 else 7.0 * len(streams)
    figure = Figure(figsize=(width, 8.5), layout="constrained", dpi=150)
    grid = figure.subplots(4, len(streams), squeeze=False, height_ratios=[1.2, 0.8, 1, 1])
    for column, (name, stream) in zip(grid.T, streams.items(), strict=True):
        top, gate, state, whole = column
        start = _window(stream)
        part = jax.tree.map(lambda leaf, start=start: leaf[start : start + WINDOW], stream)
        draw_predictions(top, part.batch.inputs, part.outputs, part.batch.targets.possible)
        top.set(ylabel="next symbol", title=f"{name}: outputs, and in frames what may be next")
        units = np.arange(0) if stream.memory is None else keeping(stream)[:UNITS]
        _draw_gate(gate, part, units)
        _draw_states(state, part, units)
        _draw_all_states(whole, stream, units)
        for axes in (gate, state):
            axes.set(xlim=top.get_xlim(), xticks=top.get_xticks(), xticklabels=[])
            axes.tick_params(axis="x", length=0)
        for axes in column:
            axes.title.set(fontsize=10, ha="left", x=0)
    return figure


def _draw_gate(axes: Axes, stream: Stream, units: np.ndarray) -> None:
    axes.set(ylabel="units", yticks=[], title="no unit has a forget gate of its own")
    # A gate may be that of a head, or of some layers only.
    if stream.forget is None or stream.forget.shape != getattr(stream.memory, "shape", None):
        return
    image = axes.imshow(
        stream.forget[:, units].T.astype(np.float32), cmap="cividis", vmin=0, vmax=1, aspect="auto",
        interpolation="none",
    )  # fmt: skip
    axes.figure.colorbar(image, ax=axes, pad=0.01, aspect=8)
    axes.set(title="forget gate of the units that keep the second symbol; 0 forgets")
    for end in _ends(stream):
        axes.axvline(end - 0.5, color=ORANGE, linewidth=1.2)


def _draw_states(axes: Axes, stream: Stream, units: np.ndarray) -> None:
    axes.set(title="states of these units; strings with T on white, with P on grey", ylabel="state")
    if stream.memory is not None:
        axes.plot(stream.memory[:, units], linewidth=1.3)
    for start, end in itertools.pairwise([0, *_ends(stream)]):
        axes.axvline(end - 0.5, color=ORANGE, linewidth=1.2)
        if stream.batch.inputs[end - 2] == SYMBOLS.index("P"):
            axes.axvspan(start - 0.5, end - 0.5, color=GREY, alpha=0.25, linewidth=0)


def _window(stream: Stream) -> int:
    """The start of a string after which strings with T and with P take about the same time."""
    starts = np.array([0, *_ends(stream)])
    T = np.repeat(
        np.asarray(stream.batch.inputs)[starts[1:] - 2] == SYMBOLS.index("T"), np.diff(starts)
    )
    last = np.searchsorted(starts, len(T) - WINDOW)
    shares = [T[start : start + WINDOW].mean() for start in starts[:last]]
    return int(starts[np.argmin(np.abs(np.array(shares) - 0.5))])


def _ends(stream: Stream) -> Int[np.ndarray, " N"]:
    """The first steps of strings, which follow the two last symbols of another."""
    return second_last_steps(stream.batch.inputs) + 3


def _draw_all_states(axes: Axes, stream: Stream, units: np.ndarray) -> None:
    if stream.memory is not None:
        others = np.setdiff1d(np.arange(stream.memory.shape[1]), units)
        axes.plot(stream.memory[:, others], color=BLUE, linewidth=0.5, alpha=0.7)
        axes.plot(stream.memory[:, units], color=ORANGE, linewidth=0.5, alpha=0.7)
    axes.set(title="states of all units over the stream; those above in orange")
    axes.set(xlabel="time step", ylabel="state", xlim=(0, len(stream.batch.inputs)))
