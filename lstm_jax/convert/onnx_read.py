"""A recurrent node of an ONNX model, read into a cell and its parameters."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.bidirectional import Directions, bidirectional
from lstm_jax.cells import (
    GRU,
    LSTM,
    CoupledLSTM,
    CoupledLSTMParams,
    GRUParams,
    GRUState,
    PeepholeLSTM,
    PeepholeLSTMParams,
    TanhRNN,
    TanhRNNParams,
    TanhRNNState,
)
from lstm_jax.convert.checks import as_arrays, axis_size, check_shape
from lstm_jax.convert.onnx_activations import OnnxActivation, read_activations, to_function
from lstm_jax.convert.onnx_cells import Backward, OnnxLSTM
from lstm_jax.convert.onnx_graph import Graph
from lstm_jax.convert.onnx_nodes import (
    BLOCKS,
    DEFAULTS,
    INPUTS,
    OUR_PEEPHOLES,
    PEEPHOLES,
    reordered,
    to_ours,
)
from lstm_jax.transforms import LearnedParams, learned_initial_state
from lstm_jax.types import LSTMParams, LSTMState, PyTree

_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


class ReadNode(NamedTuple):
    """A recurrent node as a cell.

    Attributes:
      node: the node.
      cell: the cell.
      params: its parameters.
      directions: 1 or 2.
      units: the hidden units of a direction.
      batch_first: whether its inputs are ``[B, T, I]``.
      lengths: the name of its lengths, or an empty string.
    """

    node: Any
    cell: Any
    params: PyTree
    directions: int
    units: int
    batch_first: bool
    lengths: str


def read_node(graph: Graph, name: str) -> ReadNode:
    """Read one node.

    Args:
      graph: the model.
      name: the name of the node.

    Returns:
      The node as a cell, with `Directions` of parameters if it is bidirectional, and
      `LearnedParams` if its initial state is a constant other than zero.

    Raises:
      TypeError: when a weight is not of floating-point numbers, or dtypes differ.
      ValueError: when a weight is an input of the model, or has another shape, or an attribute
        has a value that ONNX does not define.
    """
    node = graph.find(name)
    kind, where = node.op_type, f"{graph.function}: node {name}"
    attributes = {each.name: graph.onnx.helper.get_attribute_value(each) for each in node.attribute}
    inputs: dict[str, str] = dict(zip(INPUTS, node.input, strict=False))
    direction = _text(attributes.get("direction", "forward"))
    if direction not in _DIRECTIONS:
        raise ValueError(f"{where}: direction must be one of {(*_DIRECTIONS,)}; got {direction!r}")
    D = _DIRECTIONS[direction]
    arrays = _weights(graph, where, kind, D, inputs, attributes.get("hidden_size"))
    activations = read_activations(
        where,
        [_text(each) for each in attributes.get("activations", DEFAULTS[kind] * D)],
        attributes.get("activation_alpha", ()),
        attributes.get("activation_beta", ()),
    )
    expected = len(DEFAULTS[kind]) * D
    if len(activations) != expected:
        raise ValueError(f"{where}: activations must be {expected}; got {len(activations)}")
    clip = attributes.get("clip")
    for k, each in enumerate(activations):
        if k % len(DEFAULTS[kind]) < 2:
            activations[k] = dataclasses.replace(each, clip=clip)
    batch_first = bool(attributes.get("layout", 0))
    states = _initial_states(graph, where, kind, D, inputs, batch_first)
    cells, params = [], []
    for d in range(D):
        each = {key: array[d] for key, array in arrays.items()}
        functions = activations[d * expected // D : (d + 1) * expected // D]
        cell, its_params = _CELLS[kind](each, functions, attributes)
        if states is not None:
            cell = learned_initial_state(cell)
            state = [jnp.asarray(state[d], each["W"].dtype) for state in states]
            its_params = LearnedParams(its_params, _STATES[kind](*state))
        cells.append(cell)
        params.append(its_params)
    cell, params = (cells[0], params[0]) if D == 1 else (bidirectional(*cells), Directions(*params))
    return ReadNode(
        node,
        Backward(cell) if direction == "reverse" else cell,
        params,
        D,
        arrays["R"].shape[-1],
        batch_first,
        inputs.get("sequence_lens", ""),
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _weights(
    graph: Graph, where: str, kind: str, directions: int, inputs: dict[str, str], units: int | None
) -> dict[str, np.ndarray]:
    """The arrays W, R, B and P of a node, with checked shapes; B of zeros where it has none."""
    given = {}
    for key in ("W", "R", "B", "P"):
        name = inputs.get(key, "")
        if not name:
            continue
        given[key] = graph.constant(name)
        if given[key] is None:
            raise ValueError(
                f"{where}: its {key} must be a constant of the model; {name} depends on inputs, so"
                " pass its value in inputs={...}"
            )
    arrays = as_arrays(where, given)
    H = units or axis_size(arrays["R"], -1)
    k = len(BLOCKS[kind])
    axes = {"W": f"[D, {k}H, I]", "R": f"[D, {k}H, H]", "B": f"[D, {2 * k}H]", "P": "[D, 3H]"}
    for key, array in arrays.items():
        check_shape(where, key, array, axes[key], D=directions, H=H, I=axis_size(arrays["W"], -1))
    if "B" not in arrays:
        arrays["B"] = np.zeros((directions, 2 * k * H), arrays["W"].dtype)
    return arrays


def _initial_states(
    graph: Graph, where: str, kind: str, directions: int, inputs: dict[str, str], batch_first: bool
) -> list[Any] | None:
    """The initial states ``[D, H]`` where they are constants other than zero; else None.

    None if they are inputs of the model: the caller passes the state to `unroll`.
    """
    keys = ("initial_h", "initial_c") if kind == "LSTM" else ("initial_h",)
    H = graph.constant(inputs["R"]).shape[-1]  # pyright: ignore[reportOptionalMemberAccess]
    states, of_caller = [], []
    for key in keys:
        if not (name := inputs.get(key, "")):
            states.append(np.zeros((directions, H), np.float32))
            continue
        state = graph.constant(name, of_shapes=True)
        if state is None:
            of_caller.append(key)
            continue
        rows = np.moveaxis(state, 0, 1) if batch_first else state
        if rows.shape[::2] != (directions, H):
            shape = "[B, D, H]" if batch_first else "[D, B, H]"
            raise ValueError(
                f"{where}: {key} must have shape {shape} with D = {directions} and H = {H}; got"
                f" {state.shape}"
            )
        if (rows != rows[:, :1]).any():
            raise ValueError(
                f"{where}: {key} is a constant that differs between the rows of a batch; make it an"
                " input of the model, and pass it to unroll"
            )
        states.append(rows[:, 0])
    if not any(state.any() for state in states):
        return None
    if of_caller:
        raise ValueError(
            f"{where}: {of_caller[0]} is an input of the model, and the other initial state a"
            " constant other than zero; make both inputs, or pass the value in inputs={...}"
        )
    return states


def _sizes(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    W, R = arrays["W"], arrays["R"]
    # JAX has float64 only where it is enabled.
    return {
        "input_size": W.shape[-1],
        "hidden_size": R.shape[-1],
        "dtype": jnp.asarray(W[:0]).dtype,
    }


def _kernels(kind: str, arrays: dict[str, np.ndarray], bias: np.ndarray) -> tuple[jax.Array, ...]:
    """The kernel, the recurrent kernel and the bias in our layout."""
    return tuple(to_ours(kind, array) for array in (arrays["W"], arrays["R"], bias))


def _other_than(defaults: Sequence[str], **activations: OnnxActivation) -> dict[str, Any]:
    """The activations of a cell that are not its defaults."""
    pairs = zip(defaults, activations.items(), strict=True)
    return {
        field: to_function(given) for name, (field, given) in pairs if given != OnnxActivation(name)
    }


def _lstm(
    arrays: dict[str, np.ndarray], activations: Sequence[OnnxActivation], attributes: dict[str, Any]
) -> tuple[Any, PyTree]:
    f, g, h = activations
    bias = np.add(*np.split(arrays["B"], 2))
    sizes = _sizes(arrays) | _other_than(("Sigmoid", "Tanh"), gate_activation=f, activation=g)
    coupled, peepholes = bool(attributes.get("input_forget", 0)), "P" in arrays
    if coupled and not peepholes and g == h and f.is_symmetric:
        # The forget gate 1 - f(z_i) is f(-z_i), and the input gate the complement of that.
        blocks = [np.split(each, 4) for each in (arrays["W"], arrays["R"], bias)]
        params = [jnp.asarray(np.concatenate([-i, g, o]).T) for i, o, _, g in blocks]
        return CoupledLSTM(**sizes), CoupledLSTMParams(*params)
    kernel, recurrent_kernel, bias = _kernels("LSTM", arrays, bias)
    if not coupled and not peepholes and g == h:
        return LSTM(**sizes), LSTMParams(kernel, recurrent_kernel, bias)
    H = arrays["R"].shape[-1]
    given = arrays.get("P", np.zeros(3 * H, arrays["W"].dtype))
    peephole = reordered(given, PEEPHOLES, OUR_PEEPHOLES)
    params = PeepholeLSTMParams(kernel, recurrent_kernel, bias, jnp.asarray(peephole))
    if not coupled and g == h:
        return PeepholeLSTM(**sizes), params
    sizes |= _other_than(("Tanh",), output_activation=h)
    return OnnxLSTM(**sizes, coupled=coupled), params


def _gru(
    arrays: dict[str, np.ndarray], activations: Sequence[OnnxActivation], attributes: dict[str, Any]
) -> tuple[Any, PyTree]:
    f, g = activations
    sizes = _sizes(arrays) | _other_than(("Sigmoid", "Tanh"), gate_activation=f, activation=g)
    from_x, from_h = np.split(arrays["B"], 2)
    reset_after = bool(attributes.get("linear_before_reset", 0))
    recurrent_bias = None
    if reset_after:
        from_h, candidate = np.split(from_h, [2 * len(from_h) // 3])
        recurrent_bias = jnp.asarray(candidate)
        from_h = np.concatenate([from_h, np.zeros_like(candidate)])
    kernel, recurrent_kernel, bias = _kernels("GRU", arrays, from_x + from_h)
    params = GRUParams(kernel, recurrent_kernel, bias, recurrent_bias)
    return GRU(**sizes, reset_after=reset_after), params


def _rnn(
    arrays: dict[str, np.ndarray], activations: Sequence[OnnxActivation], attributes: dict[str, Any]
) -> tuple[Any, PyTree]:
    (f,) = activations
    kernel, recurrent_kernel, bias = _kernels("RNN", arrays, np.add(*np.split(arrays["B"], 2)))
    cell = TanhRNN(**_sizes(arrays), **_other_than(("Tanh",), activation=f))
    return cell, TanhRNNParams(kernel, recurrent_kernel, bias)


_CELLS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
_STATES = {"LSTM": LSTMState, "GRU": GRUState, "RNN": TanhRNNState}
