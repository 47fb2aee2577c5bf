"""Weights of Haiku's `LSTM`: one linear layer of input and hidden state, in gate order i, g, f, o.

Haiku adds 1 to the forget gate in every call. Our bias includes that 1:

    kernel, recurrent_kernel = w[:I], w[I:]
    bias                     = b, and b_f + 1 for the forget gate

The sum, and the difference in `from_params`, are rounded to the dtype of the weights. After a round
trip, the bias of the forget gate is equal to within half a unit in the last place of 1 + b_f: 6e-8
in float32 and 4e-3 in bfloat16 around 1. All other weights are exact.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.convert import families
from lstm_jax.convert.checks import (
    as_arrays,
    axis_size,
    check_mapping,
    check_names,
    check_shape,
    select_prefix,
)
from lstm_jax.convert.families import make_params
from lstm_jax.convert.gate_order import GATE_ORDER, reorder_gates
from lstm_jax.convert.layer_params import (
    Layer,
    join_layers,
    natural_order,
    split_layers,
)
from lstm_jax.types import PyTree

_HAIKU_ORDER = "igfo"
_NAMES = ("w", "b")
_GRU_NAMES = ("w_i", "w_h")


def to_params(theirs: Mapping[str, Any], *, prefix: str = "") -> PyTree:
    """Convert parameters of Haiku to ours.

    Args:
      theirs: ``{"w": [I+H, 4H], "b": [4H]}``; or the mapping of `hk.transform`,
        ``{"lstm/linear": {"w": ..., "b": ...}, "lstm_1/linear": ...}``.
      prefix: the start of the layers' names, if the mapping has other modules as well: ``"lstm"``
        selects ``lstm/linear``, ``lstm_1/linear`` and so on.

    Returns:
      `LSTMParams`; a tuple for more than one layer, in the natural order of their names. The bias
      of the forget gate has 1 added.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.
      ValueError: when the names or shapes are not those of an LSTM, or the sizes of consecutive
        layers do not match.

    >>> params = to_params({"w": jnp.ones((8, 20)), "b": jnp.zeros(20)})
    >>> params.kernel.shape, float(params.bias[5])
    ((3, 20), 1.0)
    """
    function = "haiku.to_params"
    check_mapping(function, "parameters", theirs)
    selected = select_prefix(function, theirs, prefix)
    if not selected:
        listed = ", ".join(theirs) or "none"
        raise ValueError(f"{function}: no name starts with {prefix!r}; the names are {listed}")
    if not any(isinstance(value, Mapping) for value in selected.values()):
        layers = [_layer(function, "", selected)]
    else:
        layers = [_layer(function, name, selected[name]) for name in natural_order(selected)]
    return join_layers(function, layers, stack=len(layers) > 1)


def _layer(function: str, module: str, linear: Any) -> Layer:
    if not isinstance(linear, Mapping):
        raise TypeError(f"{function}: {module} must contain w and b; got {type(linear).__name__}")
    prefix = f"{module}/" if module else ""
    named = {f"{prefix}{name}": value for name, value in linear.items()}
    expected, gru = ([f"{prefix}{name}" for name in names] for names in (_NAMES, _GRU_NAMES))
    check_names(function, named, expected, gru=gru)
    w, b = as_arrays(function, {name: named[name] for name in expected}).values()
    H = axis_size(b, 0) // 4
    inputs = max(axis_size(w, 0) - H, 1)
    check_shape(function, f"{prefix}b", b, "[4H]", H=H)
    check_shape(function, f"{prefix}w", w, "[I+H, 4H]", I=inputs, H=H)
    w, b = (reorder_gates(array, source=_HAIKU_ORDER, target=GATE_ORDER) for array in (w, b))
    bias = b + _forget_bias(H, b.dtype)
    ours = {"kernel": w[:inputs], "recurrent_kernel": w[inputs:], "bias": bias}
    return (make_params(families.LSTM, ours),)


def _forget_bias(H: int, dtype: Any) -> jax.Array:
    """Return the bias that Haiku adds in a call, in our gate order: 1 for the forget gate."""
    return jnp.repeat(jnp.array([0, 1, 0, 0], dtype), H)


def from_params(params: PyTree, *, name: str = "lstm") -> dict[str, dict[str, jax.Array]]:
    """Convert our parameters to those of Haiku.

    Args:
      params: `LSTMParams`, or a tuple of layers.
      name: name of the first module; ``_1``, ``_2`` and so on are appended for the others.

    Returns:
      ``{"lstm/linear": {"w": ..., "b": ...}}``, with ``lstm_1/linear`` for the second layer. The
      bias of the forget gate has 1 subtracted.

    Raises:
      TypeError: when `params` belong to another cell.
      ValueError: when Haiku has no such layer.

    >>> import lstm_jax as lj
    >>> params = lj.stack(lj.LSTM(3, 5), lj.LSTM(5, 4)).init(jax.random.key(0))
    >>> {name: linear["w"].shape for name, linear in from_params(params).items()}
    {'lstm/linear': (8, 20), 'lstm_1/linear': (9, 16)}
    """
    layers = split_layers("haiku.from_params", params, supported=[families.LSTM], directions=False)
    theirs = {}
    for k, (each, *_) in enumerate(layers):
        w = jnp.concatenate([each.kernel, each.recurrent_kernel])
        b = each.bias - _forget_bias(each.recurrent_kernel.shape[0], each.bias.dtype)
        theirs[f"{name}_{k}/linear" if k else f"{name}/linear"] = {
            "w": reorder_gates(w, source=GATE_ORDER, target=_HAIKU_ORDER),
            "b": reorder_gates(b, source=GATE_ORDER, target=_HAIKU_ORDER),
        }
    return theirs
