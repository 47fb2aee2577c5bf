"""The layers of any model: their names, and their parts of a tree of states or gates."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import lstm_jax as lj
from experiments.model import Model, ModelParams
from lstm_jax.bidirectional import Bidirectional
from lstm_jax.transforms.stack import Stack
from lstm_jax.transforms.transform import Transform, has_gates
from lstm_jax.types import PyTree


class LayerTrace(NamedTuple):
    """States and gates of one layer, in one direction of time, over sequences.

    Attributes:
      name: such as ``"layer 1"`` or ``"layer 2, backward"``.
      cell: the cell, without the transforms around it.
      states: the state after every step, leaves ``[T, ...]``.
      gates: the gates of every step, leaves ``[T, ...]``; None for a cell without gates.
    """

    name: str
    cell: Any
    states: PyTree
    gates: PyTree

    @property
    def memory(self) -> Array:
        """What the layer keeps from step to step: the cell state, or the hidden state without one.

        For the sLSTM it is the cell state over the normaliser, as the output reads it.

        Returns:
          ``[T, ..., H]``; for the mLSTM the matrices ``[T, ..., N, V, K]``.
        """
        states = self.states
        if hasattr(states, "c") and hasattr(states, "n"):
            # Before the first input of a row the normaliser is zero.
            return states.c / jnp.where(states.n == 0, 1, states.n)
        return getattr(states, "c", getattr(states, "C", states[0]))

    def __repr__(self) -> str:
        shapes = jax.tree.map(lambda leaf: list(leaf.shape), (self.states, self.gates))
        return f"{self.name}: {self.cell!r}\n  states {shapes[0]}\n  gates {shapes[1]}"


def trace_layers(
    model: Model, params: ModelParams, inputs: Array, lengths: Any = None
) -> tuple[LayerTrace, ...]:
    """The states and gates of all layers and directions of a model.

    Args:
      model: any model.
      params: its parameters.
      inputs: features ``[T, ..., I]``, or class indices ``[T, ...]``.
      lengths: valid steps of every sequence ``[...]``; None if all are.

    Returns:
      One trace for each layer and direction, from the input up.
    """
    cell: Any = model.cell
    if has_gates(cell):
        xs = model.encode(inputs)
        states, gates = lj.trace(cell, params.cell, xs, lengths=lengths)
    else:
        states, gates = layer_states(model, params, inputs, lengths), None
    return tuple(
        LayerTrace(name, single, of_states, of_gates)
        for name, single, of_states, of_gates in layers_of(cell, states, gates)
    )


def layer_states(model: Model, params: ModelParams, inputs: Array, lengths: Any = None) -> PyTree:
    """The states of all layers after every step, without their gates, by the fastest backend.

    Args:
      model, params, inputs, lengths: as in `trace_layers`.

    Returns:
      The states of the model's cell, leaves ``[T, ...]``.
    """
    _, _, states = lj.unroll(
        model.cell, params.cell, model.encode(inputs), lengths=lengths, return_states=True
    )
    return jax.tree.map(lambda leaf: leaf[1:], states)


def unit_memories(
    model: Model, params: ModelParams, inputs: Array, lengths: Any = None
) -> Float[Array, "T ... H"] | None:
    """The memories of all units of all layers side by side, see `LayerTrace.memory`.

    Args:
      model, params, inputs, lengths: as in `trace_layers`.

    Returns:
      ``[T, ..., H]`` with all units; None if no layer has a memory of units, as those of
      convolutional and matrix cells are images and matrices.
    """
    states = layer_states(model, params, inputs, lengths)
    features = 0
    if jnp.issubdtype(inputs.dtype, jnp.floating):
        features = len(model.input_size) if isinstance(model.input_size, tuple) else 1
    batch_axes = inputs.ndim - 1 - features
    memories = [
        LayerTrace(name, cell, of_states, None).memory
        for name, cell, of_states, _ in layers_of(model.cell, states, None)
    ]
    of_units = [memory for memory in memories if memory.ndim == batch_axes + 2]
    return jnp.concatenate(of_units, axis=-1) if of_units else None


def layers_of(cell: Any, states: PyTree, gates: PyTree) -> list[tuple[str, Any, PyTree, PyTree]]:
    """The single cells inside of a cell, from the input up, with their parts of two trees.

    Args:
      cell: a cell, a stack, or another cell made of cells.
      states: its states, or a tree of the same form, such as one of gradients.
      gates: its gates, or None.

    Returns:
      ``(name, cell, states, gates)`` of each layer and direction.

    >>> cell = lj.stack(lj.LSTM(2, 3), lj.TanhRNN(3, 4))
    >>> [name for name, *_ in layers_of(cell, cell.initial_state(), None)]
    ['layer 1', 'layer 2']
    """
    return [
        (f"layer {k}{direction}", *rest)
        for k, layer in enumerate(_layers(cell, states, gates), start=1)
        for direction, *rest in layer
    ]


def _layers(
    cell: Any, states: PyTree, gates: PyTree
) -> list[list[tuple[str, Any, PyTree, PyTree]]]:
    """For every layer, ``(direction, cell, states, gates)`` of each of its directions."""
    if isinstance(cell, Stack):
        each = (None,) * len(cell.cells) if gates is None else gates
        parts = zip(cell.cells, states, each, strict=True)
        return [layer for part in parts for layer in _layers(*part)]
    if isinstance(cell, Bidirectional):
        both = (None, None) if gates is None else gates
        ways = [
            [[(f", {way}{inner}", *rest) for inner, *rest in layer] for layer in _layers(*part)]
            for way, *part in zip(
                ("forward", "backward"), cell.children(), states, both, strict=True
            )
        ]
        return [a + b for a, b in itertools.zip_longest(*ways, fillvalue=[])]
    if isinstance(cell, Transform) and len(cell.children()) == 1:
        return _layers(cell.children()[0], states, gates)
    return [[("", cell, states, gates)]]
