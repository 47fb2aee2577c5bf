"""The parameter trees of Flax's LSTM layers: names, arrays, and conversion of one layer.

Both cells of `flax.linen`, and `nnx.LSTMCell`, have separate arrays for each gate:

    ii, if, ig, io    kernel [I, H] each, without bias; ``if_`` in nnx
    hi, hf, hg, ho    kernel [H, H] and bias [H] each

`nnx.OptimizedLSTMCell` has ``dense_i/kernel [I, 4H]``, ``dense_h/kernel [H, 4H]`` and
``dense_h/bias [4H]``, in our gate order, i, f, g, o.

An `RNN` has its cell under ``cell``, and a `Bidirectional` has two RNNs under ``forward_rnn`` and
``backward_rnn``.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from lstm_jax.convert import families
from lstm_jax.convert.checks import as_arrays, axis_size, check_names, check_shape
from lstm_jax.convert.families import Params, make_params
from lstm_jax.convert.gate_order import GATE_ORDER
from lstm_jax.convert.layer_params import Layer
from lstm_jax.types import LSTMParams

LINEN = {f"{side}{gate}": f"{side}{gate}" for side in "ih" for gate in GATE_ORDER}
"""Names of the gates' linear layers in both cells of linen."""

NNX = LINEN | {"if": "if_"}  # "if" is a Python keyword
"""Their names in `nnx.LSTMCell`."""

DENSE = ("dense_i", "dense_h")
"""Names of the linear layers in `nnx.OptimizedLSTMCell`."""

RNNS = ("forward_rnn", "backward_rnn")
"""Names of the RNNs in a `Bidirectional`."""

_RNG_STREAM = "rngs"  # an attribute of nnx layers for the initial carry; not a parameter
_ATTRIBUTES = ("params", "cell", *RNNS, *DENSE, *LINEN, *NNX.values(), "kernel", "bias")
_GRU_NAMES = ("ir/kernel", "iz/kernel", "in/kernel", "dense_i/bias")


def layer_of(function: str, node: Any) -> Layer:
    """Make the parameters of a cell, an `RNN` or a `Bidirectional`.

    Args:
      function: the public function to name in errors.
      node: its subtree, or ``{"params": ...}``, or its nnx module.

    Returns:
      The parameters of one direction or two.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.
      ValueError: when the names or shapes are not those of an LSTM.
    """
    children = children_of(node)
    if children.keys() == {"params"}:
        return layer_of(function, children["params"])
    if children.keys() & set(RNNS):
        check_names(function, children, RNNS)
        return tuple(_direction(function, f"{name}/", children[name]) for name in RNNS)
    return (_direction(function, "", node),)


def _direction(function: str, path: str, node: Any) -> Params:
    """Make the parameters of a cell, or of an `RNN` with one."""
    children = children_of(node)
    if children.keys() == {"cell"}:
        return _direction(function, f"{path}cell/", children["cell"])
    leaves = {
        f"{path}{part}/{name}": leaf
        for part, dense in children.items()
        for name, leaf in children_of(dense).items()
    }
    names = _array_names(children, path)
    expected = [name for part in names for name in part]
    check_names(function, leaves or children, expected, gru=[path + name for name in _GRU_NAMES])
    arrays = as_arrays(function, {name: leaves[name] for name in expected})
    kernels, recurrent, biases = ([arrays[name] for name in part] for part in names)
    sizes = {"I": axis_size(kernels[0], 0), "H": axis_size(recurrent[0], 0)}
    width = "H" if len(kernels) > 1 else "4H"
    axes = (f"[I, {width}]", f"[H, {width}]", f"[{width}]")
    for part, shape in zip(names, axes, strict=True):
        for name in part:
            check_shape(function, name, arrays[name], shape, **sizes)
    parts = (jnp.concatenate(part, axis=-1) for part in (kernels, recurrent, biases))
    return make_params(families.LSTM, dict(zip(LSTMParams._fields, parts, strict=True)))


def _array_names(cell: Mapping[str, Any], path: str) -> tuple[list[str], list[str], list[str]]:
    """Return the names of a cell's kernels, recurrent kernels and biases, in our gate order."""
    if cell.keys() & set(DENSE):
        inputs, hidden = ([part] for part in DENSE)
    else:
        theirs = NNX if "if_" in cell else LINEN
        inputs, hidden = ([theirs[f"{side}{gate}"] for gate in GATE_ORDER] for side in "ih")
    return (
        [f"{path}{part}/kernel" for part in inputs],
        [f"{path}{part}/kernel" for part in hidden],
        [f"{path}{part}/bias" for part in hidden],
    )


def children_of(node: Any) -> dict[str, Any]:
    """Return the entries of a mapping or an nnx module by name, without random streams."""
    if isinstance(node, Mapping):
        return {name: node[name] for name in node if name != _RNG_STREAM}
    if hasattr(node, "__dict__") and not hasattr(node, "shape"):
        return {name: vars(node)[name] for name in _ATTRIBUTES if vars(node).get(name) is not None}
    return {}
