"""Weights of Equinox's `LSTMCell` and `GRUCell`: the transposes of ours.

``weight_ih [kH, I]``, ``weight_hh [kH, H]`` and ``bias [kH]`` with k gate blocks; and for a GRU,
which resets after the product, ``bias_n [H]``, our recurrent bias. Biases are None with
``use_bias=False``. The gate orders are ours: i, f, g, o, and r, z, n. Conversion is exact in both
directions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.convert import families
from lstm_jax.convert.checks import as_arrays, axis_size, check_names, check_shape
from lstm_jax.convert.families import Family, Params, family_of_width, make_params, required_family
from lstm_jax.convert.layer_params import (
    Layer,
    is_stack,
    join_layers,
    like_params,
    split_layers,
)
from lstm_jax.param_dict import path_names
from lstm_jax.types import PyTree

_OUR_NAMES = {
    "weight_ih": "kernel",
    "weight_hh": "recurrent_kernel",
    "bias": "bias",
    "bias_n": "recurrent_bias",
}
_WEIGHTS = ("weight_ih", "weight_hh")
_BIASES = {families.LSTM: ("bias",), families.GRU: ("bias", "bias_n")}


def to_params(theirs: Any) -> PyTree:
    """Convert an Equinox cell to parameters.

    Args:
      theirs: an `equinox.nn.LSTMCell` or `equinox.nn.GRUCell`, or a mapping with its
        ``weight_ih``, ``weight_hh``, ``bias`` and, for a GRU, ``bias_n``; or a list of these, from
        the input up.

    Returns:
      `LSTMParams`, or `GRUParams` with a ``recurrent_bias``; a tuple for a list. Biases are zero
      for a cell without.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.
      ValueError: when the names or shapes are not those of such a cell, or the sizes of consecutive
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
        cell = {name: getattr(cell, name, None) for name in _OUR_NAMES}
    weights = {name: value for name, value in cell.items() if value is not None}
    family = _family(weights)
    biases = [name for name in _BIASES[family] if weights.keys() & set(_BIASES[family])]
    check_names(function, weights, [*_WEIGHTS, *biases])
    arrays = as_arrays(function, {name: weights[name] for name in [*_WEIGHTS, *biases]})
    width = family.width
    axes = {"weight_ih": f"[{width}, I]", "weight_hh": f"[{width}, H]", "bias": f"[{width}]"}
    sizes = {"I": axis_size(arrays["weight_ih"], 1), "H": axis_size(arrays["weight_hh"], 1)}
    for name, array in arrays.items():
        check_shape(function, name, array, axes.get(name, "[H]"), **sizes)
    return (make_params(family, {_OUR_NAMES[name]: array.T for name, array in arrays.items()}),)


def _family(weights: Mapping[str, Any]) -> Family:
    """Return the family of a cell; the LSTM if its names and shapes are of neither."""
    if "bias_n" in weights:
        return families.GRU
    shape = getattr(weights.get("weight_hh"), "shape", ())
    family = family_of_width(*shape) if len(shape) == 2 else families.LSTM
    return family if family in _BIASES else families.LSTM


def from_params(params: PyTree, *, like: Any = None) -> Any:
    """Convert parameters to the weights of Equinox.

    Args:
      params: `LSTMParams`, `GRUParams` of a GRU that resets after the product, or a tuple of
        layers.
      like: an `equinox.nn.LSTMCell` or `equinox.nn.GRUCell` of the same sizes to copy with these
        weights, or a list of them for a tuple of layers. A cell without a bias needs biases of
        zero.

    Returns:
      A dict with ``weight_ih``, ``weight_hh``, ``bias`` and, for a GRU, ``bias_n``; or a copy of
      `like` with these weights. A list of them for a tuple of layers.

    Raises:
      TypeError: when `params` belong to another cell.
      ValueError: when Equinox has no such cell, or the sizes of `like` differ.

    >>> import lstm_jax as lj
    >>> params = lj.LSTM(3, 5).init(jax.random.key(0))
    >>> {name: array.shape for name, array in from_params(params).items()}
    {'weight_ih': (20, 3), 'weight_hh': (20, 5), 'bias': (20,)}
    """
    function = "equinox.from_params"
    layers = split_layers(function, params, supported=[*_BIASES], directions=False)
    cells = _cells(function, like, len(layers), is_stack(params))
    theirs = []
    for (each, *_), cell in zip(layers, cells, strict=True):
        names = [*_WEIGHTS, *_BIASES[required_family(each)]]
        weights = {name: getattr(each, _OUR_NAMES[name]).T for name in names}
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
        weights = {name: weights[name] for name in _WEIGHTS}
    check_names(function, old, weights)
    for name, leaf in old.items():
        if jnp.shape(leaf) != weights[name].shape:
            raise ValueError(
                f"{function}: {name} of like must have shape {weights[name].shape};"
                f" got {jnp.shape(leaf)}"
            )
    return jax.tree.unflatten(structure, [weights[name] for name in old])
