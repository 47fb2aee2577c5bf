"""Weights of Equinox's `LSTMCell`: the transposes of ours.

``weight_ih [4H, I]``, ``weight_hh [4H, H]`` and ``bias [4H]``, which is None with
``use_bias=False``. The gate order is ours, i, f, g, o. Conversion is exact in both directions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.convert import families
from lstm_jax.convert.checks import as_arrays, axis_size, check_names, check_shape
from lstm_jax.convert.families import Params, make_params
from lstm_jax.convert.layer_params import (
    Layer,
    is_stack,
    join_layers,
    like_params,
    split_layers,
)
from lstm_jax.param_dict import path_names
from lstm_jax.types import LSTMParams, PyTree

_AXES = {"weight_ih": "[4H, I]", "weight_hh": "[4H, H]", "bias": "[4H]"}
_NAMES = (*_AXES,)
_OUR_NAMES = dict(zip(_NAMES, LSTMParams._fields, strict=True))
_GRU_NAMES = ("bias_n",)


def to_params(theirs: Any) -> PyTree:
    """Convert an Equinox cell to parameters.

    Args:
      theirs: an `equinox.nn.LSTMCell`, or a mapping with its ``weight_ih``, ``weight_hh`` and
        ``bias``; or a list of these, from the input up.

    Returns:
      `LSTMParams`; a tuple for a list. The bias is zero for a cell without a bias.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.
      ValueError: when the names or shapes are not those of an LSTM, or the sizes of consecutive
        layers do not match.

    >>> to_params({"weight_ih": jnp.ones((20, 3)), "weight_hh": jnp.ones((20, 5))}).kernel.shape
    (3, 20)
    """
    function = "equinox.to_params"
    stack = is_stack(theirs)
    layers = [_layer(function, cell) for cell in (theirs if stack else [theirs])]
    return join_layers(function, layers, stack=stack)


def _layer(function: str, cell: Any) -> Layer:
    if not isinstance(cell, Mapping):
        cell = {name: getattr(cell, name, None) for name in (*_NAMES, *_GRU_NAMES)}
    weights = {name: value for name, value in cell.items() if value is not None}
    names = [name for name in _NAMES if name != "bias" or "bias" in weights]
    check_names(function, weights, names, gru=_GRU_NAMES)
    arrays = as_arrays(function, {name: weights[name] for name in names})
    sizes = {"I": axis_size(arrays["weight_ih"], 1), "H": axis_size(arrays["weight_hh"], 1)}
    for name, array in arrays.items():
        check_shape(function, name, array, _AXES[name], **sizes)
    ours = {_OUR_NAMES[name]: array.T for name, array in arrays.items()}
    return (make_params(families.LSTM, ours),)


def from_params(params: PyTree, *, like: Any = None) -> Any:
    """Convert parameters to the weights of Equinox.

    Args:
      params: `LSTMParams`, or a tuple of layers.
      like: an `equinox.nn.LSTMCell` of the same sizes to copy with these weights, or a list of them
        for a tuple of layers. A cell without a bias needs biases of zero.

    Returns:
      A dict with ``weight_ih``, ``weight_hh`` and ``bias``, or a copy of `like` with these weights;
      a list of them for a tuple of layers.

    Raises:
      TypeError: when `params` belong to another cell.
      ValueError: when Equinox has no such cell, or the sizes of `like` differ.

    >>> import lstm_jax as lj
    >>> params = lj.LSTM(3, 5).init(jax.random.key(0))
    >>> {name: array.shape for name, array in from_params(params).items()}
    {'weight_ih': (20, 3), 'weight_hh': (20, 5), 'bias': (20,)}
    """
    function = "equinox.from_params"
    layers = split_layers(function, params, supported=[families.LSTM], directions=False)
    cells = _cells(function, like, len(layers), is_stack(params))
    theirs = []
    for (each, *_), cell in zip(layers, cells, strict=True):
        weights = {
            "weight_ih": each.kernel.T,
            "weight_hh": each.recurrent_kernel.T,
            "bias": each.bias,
        }
        theirs.append(weights if cell is None else _replace(function, cell, each, weights))
    return like_params(params, theirs)


def _cells(function: str, like: Any, layers: int, stack: bool) -> Sequence[Any]:
    """Return one cell of `like`, or None, for each layer."""
    if like is None:
        return [None] * layers
    cells = like if is_stack(like) else [like]
    if is_stack(like) != stack or len(cells) != layers:
        expected = f"a list of {layers} cells" if stack else "one cell"
        got = f"a list of {len(cells)}" if is_stack(like) else type(like).__name__
        raise ValueError(f"{function}: like must be {expected}; got {got}")
    return cells


def _replace(function: str, cell: Any, ours: Params, weights: Mapping[str, jax.Array]) -> Any:
    """Return a cell, which may be any pytree, with new weights."""
    leaves, structure = jax.tree.flatten_with_path(cell)
    old = {"/".join(path_names(path)): leaf for path, leaf in leaves}
    if "bias" not in old:
        split_layers(function, ours, bias=False)  # checks that the bias is zero
        weights = {name: weights[name] for name in _NAMES[:2]}
    check_names(function, old, weights, gru=_GRU_NAMES)
    for name, leaf in old.items():
        if jnp.shape(leaf) != weights[name].shape:
            raise ValueError(
                f"{function}: {name} of like must have shape {weights[name].shape};"
                f" got {jnp.shape(leaf)}"
            )
    return jax.tree.unflatten(structure, [weights[name] for name in old])
