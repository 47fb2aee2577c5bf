"""Weights of Haiku's `LSTM`: one linear layer of input and hidden state, its gates i, g, f, o.

Haiku adds 1 to the forget gate when it is called. Our bias holds that 1:

    kernel, recurrent_kernel = w[:I], w[I:]
    bias                     = b, and b_f + 1 for the forget gate

The sum is rounded to the dtype of the weights, and on the way back the difference. A bias of the
forget gate comes back to within half a unit in the last place of 1 + b_f: 6e-8 in float32 and 4e-3
in bfloat16 around 1. The other weights are exact.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.convert.arrays import (
    OURS,
    as_arrays,
    check_names,
    check_shape,
    in_natural_order,
    reordered,
    size,
    under,
)
from lstm_jax.convert.layers import Params, assembled, layers_of, one_direction
from lstm_jax.types import PyTree

_THEIRS = "igfo"
_NAMES = ("w", "b")
_GRU = ("w_i", "w_h")


def to_params(theirs: Mapping[str, Any], *, prefix: str = "") -> PyTree:
    """Parameters from those of Haiku.

    Args:
      theirs: ``{"w": [I+H, 4H], "b": [4H]}``; or the mapping that `hk.transform` makes,
        ``{"lstm/linear": {"w": ..., "b": ...}, "lstm_1/linear": ...}``.
      prefix: what the names of the layers begin with, where the mapping has others:
        ``"lstm"`` takes ``lstm/linear``, ``lstm_1/linear`` and so on.

    Returns:
      `LSTMParams`; a tuple when there is more than one, in the natural order of their names. The
      bias of the forget gate has 1 added.

    Raises:
      TypeError: when there is something else than floating-point arrays, or dtypes differ.
      ValueError: when the names or shapes are not those of an LSTM, or layers do not fit on each
        other.

    >>> params = to_params({"w": jnp.ones((8, 20)), "b": jnp.zeros(20)})
    >>> params.kernel.shape, float(params.bias[5])
    ((3, 20), 1.0)
    """
    function = "haiku.to_params"
    if not isinstance(theirs, Mapping):
        raise TypeError(f"{function}: parameters must be a mapping; got {type(theirs).__name__}")
    chosen = under(function, theirs, prefix)
    if not chosen:
        listed = ", ".join(theirs) or "nothing"
        raise ValueError(f"{function}: no name begins with {prefix!r}; there is {listed}")
    if not any(isinstance(value, Mapping) for value in chosen.values()):
        return _one(function, "", chosen)
    layers = [(_one(function, name, chosen[name]),) for name in in_natural_order(chosen)]
    return assembled(function, layers, stack=len(layers) > 1)


def _one(function: str, where: str, linear: Any) -> Params:
    if not isinstance(linear, Mapping):
        raise TypeError(f"{function}: {where} must hold w and b; got {type(linear).__name__}")
    above = f"{where}/" if where else ""
    named = {f"{above}{name}": value for name, value in linear.items()}
    wanted, gru = ([f"{above}{name}" for name in names] for names in (_NAMES, _GRU))
    check_names(function, named, wanted, gru=gru)
    w, b = as_arrays(function, {name: named[name] for name in wanted}).values()
    width = size(b, 0)
    H = width // 4
    inputs = max(size(w, 0) - H, 1)
    check_shape(function, f"{above}b", b, "[4H]", H=H)
    check_shape(function, f"{above}w", w, "[I+H, 4H]", I=inputs, H=H)
    w, b = (reordered(array, of=_THEIRS, to=OURS) for array in (w, b))
    return one_direction(
        {"kernel": w[:inputs], "recurrent_kernel": w[inputs:], "bias": b + _added(H, b.dtype)}
    )


def _added(H: int, dtype: Any) -> jax.Array:
    """What Haiku adds when called: 1 to the forget gate, the second block of ours."""
    return jnp.repeat(jnp.array([0, 1, 0, 0], dtype), H)


def from_params(params: PyTree, *, name: str = "lstm") -> dict[str, dict[str, jax.Array]]:
    """The parameters of Haiku from ours.

    Args:
      params: `LSTMParams`, or a tuple of layers.
      name: name of the first module; the others have ``_1``, ``_2`` added.

    Returns:
      ``{"lstm/linear": {"w": ..., "b": ...}}``, with ``lstm_1/linear`` for the second layer. The
      bias of the forget gate has 1 subtracted.

    Raises:
      TypeError: when `params` are of another cell.
      ValueError: when Haiku has no layer for them.

    >>> import lstm_jax as lj
    >>> params = lj.stack(lj.LSTM(3, 5), lj.LSTM(5, 4)).init(jax.random.key(0))
    >>> {name: linear["w"].shape for name, linear in from_params(params).items()}
    {'lstm/linear': (8, 20), 'lstm_1/linear': (9, 16)}
    """
    layers = layers_of("haiku.from_params", params, projection=False, directions=False)
    theirs = {}
    for k, (each, *_) in enumerate(layers):
        w = jnp.concatenate([each.kernel, each.recurrent_kernel])
        b = each.bias - _added(each.recurrent_kernel.shape[0], each.bias.dtype)
        theirs[f"{name}_{k}/linear" if k else f"{name}/linear"] = {
            "w": reordered(w, of=OURS, to=_THEIRS),
            "b": reordered(b, of=OURS, to=_THEIRS),
        }
    return theirs
