"""Cells as weights and attributes of recurrent ONNX nodes."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.cells import GRU, LSTM, CoupledLSTM, OriginalLSTM, PeepholeLSTM, TanhRNN
from lstm_jax.convert.onnx_activations import OnnxActivation, to_activation, to_attributes
from lstm_jax.convert.onnx_cells import OnnxLSTM
from lstm_jax.convert.onnx_nodes import DEFAULTS, OUR_PEEPHOLES, PEEPHOLES, reordered, to_theirs
from lstm_jax.types import PyTree

_OPEN_GATE = 100.0
"""A pre-activation where a sigmoid is 1 to the last digit: a forget gate that forgets nothing."""

# The fields of cells that nodes have.
_FIELDS = ("input_size", "hidden_size", "dtype", "reset_after", "coupled")
_ACTIVATIONS = ("gate_activation", "activation", "output_activation")


class NodeWeights(NamedTuple):
    """One direction of a node.

    Attributes:
      kind: the operator.
      arrays: W, R, B and, with peepholes, P, without the axis of directions.
      activations: its activations.
      attributes: its other attributes, which both directions of a node share.
    """

    kind: str
    arrays: dict[str, np.ndarray]
    activations: list[OnnxActivation]
    attributes: dict[str, Any]


def node_weights(function: str, cell: Any, params: PyTree) -> NodeWeights:
    """One direction of a node that computes a cell.

    Args:
      function: the public function to name in errors.
      cell: a single cell.
      params: its parameters.

    Returns:
      The weights and attributes.

    Raises:
      TypeError: when no node computes the cell.
    """
    write = _WRITERS[type(cell)]
    _check_fields(function, cell)
    given = [getattr(cell, name, None) for name in _ACTIVATIONS]
    given[2] = given[2] or given[1]
    where = f"{function}: {type(cell).__name__}"
    activations = [to_activation(where, each) for each in given if each is not None]
    params = jax.tree.map(np.asarray, params)
    kind, arrays, attributes = write(where, cell, params, activations[0])
    activations = activations[: len(DEFAULTS[kind])]
    attributes = {"hidden_size": arrays["R"].shape[-1], **attributes}
    if (clip := _common_clip(where, activations)) is not None:
        attributes["clip"] = clip
    return NodeWeights(kind, arrays, activations, attributes)


def _check_fields(function: str, cell: Any) -> None:
    """Refuse a field that changes the equations of a cell and that no node has."""
    for field in dataclasses.fields(cell):
        initializer = field.name.endswith("_init")
        if field.name not in (*_FIELDS, *_ACTIVATIONS) and not initializer:
            value = getattr(cell, field.name)
            if value != field.default:
                raise TypeError(
                    f"{function}: ONNX has no {field.name} in {type(cell).__name__}; got {value}"
                )


def _common_clip(where: str, activations: Sequence[OnnxActivation]) -> float | None:
    """The clip of all pre-activations; the third activation, that of the cell state, has none."""
    clips = [each.clip for each in activations]
    if len({*clips[:2]}) > 1 or any(clip is not None for clip in clips[2:]):
        got = ", ".join(map(repr, activations))
        raise TypeError(
            f"{where}: ONNX has one clip, which bounds the inputs of all activations but that of"
            f" the cell state in h; got {got}"
        )
    return clips[0]


def joined(directions: Sequence[NodeWeights]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays, with the axis of directions, and the attributes of a node."""
    first = directions[0]
    arrays = {name: np.stack([each.arrays[name] for each in directions]) for name in first.arrays}
    activations = [each for direction in directions for each in direction.activations]
    attributes = to_attributes(activations)
    if attributes == {"activations": [*DEFAULTS[first.kind]] * len(directions)}:
        attributes = {}
    return arrays, first.attributes | attributes


def share_a_node(forward: NodeWeights, backward: NodeWeights) -> bool:
    """Whether one node can compute both directions."""
    shapes = [
        {name: array.shape for name, array in each.arrays.items()} for each in (forward, backward)
    ]
    return (
        forward.kind == backward.kind
        and shapes[0] == shapes[1]
        and forward.attributes == backward.attributes
    )


_Written = tuple[str, dict[str, np.ndarray], dict[str, Any]]


def _arrays(kind: str, kernels: Sequence[Any], recurrent_bias: Any = None) -> dict[str, np.ndarray]:
    W, R, bias = (to_theirs(kind, kernel) for kernel in kernels)
    from_h = np.zeros_like(bias)
    if recurrent_bias is not None:
        from_h[-len(recurrent_bias) :] = recurrent_bias
    return {"W": W, "R": R, "B": np.concatenate([bias, from_h])}


def _lstm(where: str, cell: Any, params: Any, gate: OnnxActivation) -> _Written:
    return "LSTM", _arrays("LSTM", params[:3]), {}


def _peephole(where: str, cell: Any, params: Any, gate: OnnxActivation) -> _Written:
    peephole = reordered(params.peephole, OUR_PEEPHOLES, PEEPHOLES)
    attributes = {"input_forget": 1} if getattr(cell, "coupled", False) else {}
    return "LSTM", _arrays("LSTM", params[:3]) | {"P": peephole}, attributes


def _coupled(where: str, cell: Any, params: Any, gate: OnnxActivation) -> _Written:
    """The input gate ``1 - f(z_f)`` is ``f(-z_f)``; ONNX computes the forget gate from it."""
    if not gate.is_symmetric:
        raise TypeError(
            f"{where}: gate_activation must be a function with 1 - f(x) = f(-x), a sigmoid or a"
            f" hard sigmoid with beta = 0.5, as ONNX computes f from i; got {gate}"
        )
    kernels = []
    for kernel in params:
        f, g, o = np.split(kernel, 3, axis=-1)
        kernels.append(np.concatenate([-f, np.zeros_like(f), g, o], axis=-1))
    return "LSTM", _arrays("LSTM", kernels), {"input_forget": 1}


def _original(where: str, cell: Any, params: Any, gate: OnnxActivation) -> _Written:
    """A forget gate that is 1: without weights, and with a large bias."""
    if float(gate(jnp.float32(_OPEN_GATE))) != 1:
        raise TypeError(
            f"{where}: gate_activation must reach 1, as a sigmoid does, since ONNX has a forget"
            f" gate; got {gate}"
        )
    kernels = []
    for kernel, value in zip(params, (0.0, 0.0, _OPEN_GATE), strict=True):
        i, g, o = np.split(kernel, 3, axis=-1)
        kernels.append(np.concatenate([i, np.full_like(i, value), g, o], axis=-1))
    return "LSTM", _arrays("LSTM", kernels), {}


def _gru(where: str, cell: Any, params: Any, gate: OnnxActivation) -> _Written:
    arrays = _arrays("GRU", params[:3], params.recurrent_bias)
    return "GRU", arrays, {"linear_before_reset": 1} if cell.reset_after else {}


def _rnn(where: str, cell: Any, params: Any, gate: OnnxActivation) -> _Written:
    return "RNN", _arrays("RNN", params), {}


_WRITERS: dict[type, Callable[[str, Any, Any, OnnxActivation], _Written]] = {
    LSTM: _lstm,
    PeepholeLSTM: _peephole,
    OnnxLSTM: _peephole,
    CoupledLSTM: _coupled,
    OriginalLSTM: _original,
    GRU: _gru,
    TanhRNN: _rnn,
}

SINGLE = (*_WRITERS,)
"""The cells that a node computes."""
