"""Weights of Flax: `LSTMCell` and `OptimizedLSTMCell` of linen and nnx, and models with them.

`flax_layer` describes the parameter trees. Conversion is exact in both directions.
"""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lstm_jax.convert import families
from lstm_jax.convert.families import Params
from lstm_jax.convert.flax_layer import LINEN, NNX, RNNS, layer_of
from lstm_jax.convert.flax_model import take_over
from lstm_jax.convert.gate_order import GATE_ORDER
from lstm_jax.convert.layer_params import (
    is_stack,
    join_layers,
    like_params,
    split_layers,
)
from lstm_jax.types import LSTMState, PyTree

__all__ = ["from_carry", "from_params", "take_over", "to_carry", "to_params"]

Layout = Literal["linen", "nnx.LSTMCell", "nnx.OptimizedLSTMCell"]


def to_params(theirs: Any) -> PyTree:
    """Convert parameters of Flax to ours.

    Args:
      theirs: the parameters of a cell, of an `RNN` or of a `Bidirectional`: linen's parameters or
        ``{"params": ...}``, an `nnx.State`, the dict of `nnx.to_pure_dict`, or the nnx module
        itself; or a list of these, from the input up. Boxes such as `nn.Partitioned` are removed.

    Returns:
      `LSTMParams`; `Directions` of them for a `Bidirectional`; a tuple for a list.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.
      ValueError: when the names or shapes are not those of an LSTM, or the sizes of consecutive
        layers do not match.

    >>> from flax import linen
    >>> variables = linen.RNN(linen.LSTMCell(5)).init(jax.random.key(0), jnp.ones((2, 7, 3)))
    >>> jax.tree.map(jnp.shape, to_params(variables))
    LSTMParams(kernel=(3, 20), recurrent_kernel=(5, 20), bias=(20,))
    """
    function = "flax.to_params"
    stack = is_stack(theirs)
    layers = [layer_of(function, layer) for layer in (theirs if stack else [theirs])]
    return join_layers(function, layers, stack=stack)


def from_params(params: PyTree, *, layout: Layout = "linen") -> Any:
    """Convert our parameters to those of Flax.

    Args:
      params: `LSTMParams`, `Directions` of them, or a tuple of layers.
      layout: ``"linen"`` for both cells of linen, ``"nnx.LSTMCell"``, or
        ``"nnx.OptimizedLSTMCell"``.

    Returns:
      A nested dict: the parameters of the cell, which an `RNN` has under ``cell``, or those of the
      `Bidirectional` for `Directions`; a list of these for a tuple of layers.

    Raises:
      TypeError: when `params` belong to another cell.
      ValueError: when Flax has no such cell.

    >>> import lstm_jax as lj
    >>> theirs = from_params(lj.LSTM(3, 5).init(jax.random.key(0)))
    >>> list(theirs), theirs["hf"]["kernel"].shape
    (['ii', 'if', 'ig', 'io', 'hi', 'hf', 'hg', 'ho'], (5, 5))
    """
    function = "flax.from_params"
    layouts = {
        "linen": lambda each: _separate_gates(each, LINEN),
        "nnx.LSTMCell": lambda each: _separate_gates(each, NNX),
        "nnx.OptimizedLSTMCell": _joint_gates,
    }
    if layout not in layouts:
        raise ValueError(f"{function}: layout must be one of {(*layouts,)}; got {layout!r}")
    theirs = []
    for layer in split_layers(function, params, supported=[families.LSTM]):
        cells = [layouts[layout](each) for each in layer]
        if len(cells) == 1:
            theirs += cells
        else:
            pairs = zip(RNNS, cells, strict=True)
            theirs.append({name: {"cell": cell} for name, cell in pairs})
    return like_params(params, theirs)


def _separate_gates(params: Params, names: Mapping[str, str]) -> dict[str, dict[str, jax.Array]]:
    kernels, recurrent, biases = (jnp.split(leaf, 4, axis=-1) for leaf in params[:3])
    theirs = {names[f"i{gate}"]: {"kernel": k} for gate, k in zip(GATE_ORDER, kernels, strict=True)}
    for gate, kernel, bias in zip(GATE_ORDER, recurrent, biases, strict=True):
        theirs[names[f"h{gate}"]] = {"kernel": kernel, "bias": bias}
    return theirs


def _joint_gates(params: Params) -> dict[str, dict[str, jax.Array]]:
    hidden = {"kernel": params.recurrent_kernel, "bias": params.bias}
    return {"dense_i": {"kernel": params.kernel}, "dense_h": hidden}


def to_carry(theirs: tuple[Any, Any]) -> LSTMState:
    """Convert a carry of Flax, ``(c, h)``, to our state, ``(h, c)``.

    Args:
      theirs: ``(c, h)``, each ``[..., H]``.

    Returns:
      `LSTMState` ``(h, c)``.

    Raises:
      TypeError: when it is not a tuple of two.

    >>> to_carry((jnp.zeros(5), jnp.ones(5))).h.tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    c, h = _pair("flax.to_carry", "carry", "(c, h)", theirs)
    return LSTMState(h=h, c=c)


def from_carry(state: LSTMState | tuple[Any, Any]) -> tuple[Any, Any]:
    """Convert our state, ``(h, c)``, to a carry of Flax, ``(c, h)``.

    Args:
      state: ``(h, c)``, each ``[..., H]``.

    Returns:
      ``(c, h)``.

    Raises:
      TypeError: when it is not a tuple of two.

    >>> from_carry(LSTMState(h=jnp.zeros(2), c=jnp.ones(2)))[0].tolist()
    [1.0, 1.0]
    """
    h, c = _pair("flax.from_carry", "state", "(h, c)", state)
    return c, h


def _pair(function: str, argument: str, expected: str, pair: Any) -> tuple[Any, Any]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        got = type(pair).__name__
        raise TypeError(f"{function}: the {argument} must be a tuple {expected}; got {got}")
    return pair[0], pair[1]
