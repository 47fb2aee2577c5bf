"""Weights of Keras 3: `LSTM`, `Bidirectional`, and lists or models of these layers.

`get_weights` of a layer returns ``kernel [I, 4H]``, ``recurrent_kernel [H, 4H]`` and, with
``use_bias``, ``bias [4H]``, in the gate order i, f, c, o, where c is our g. For a `Bidirectional`,
all arrays of the forward layer come before those of the backward layer. These are the same arrays
as ours: conversion is exact in both directions.
"""

from collections.abc import Sequence
from typing import Any

from lstm_jax.convert import families
from lstm_jax.convert.checks import as_arrays, axis_size, check_shape
from lstm_jax.convert.families import Params, make_params
from lstm_jax.convert.layer_params import (
    Layer,
    join_layers,
    like_params,
    split_layers,
)
from lstm_jax.types import PyTree

_NAMES = (*families.LSTM.axes,)


def to_params(theirs: Any) -> PyTree:
    """Convert the weights of Keras to parameters.

    Args:
      theirs: the result of `get_weights` of an `LSTM` or a `Bidirectional`, or the layer itself; or
        a list of these, from the input up, or a model that has only such layers. A flat list of 4
        or 6 arrays is read as one `Bidirectional`; `get_weights` of a model with two layers returns
        a list of the same form, so pass the model or its layers.

    Returns:
      `LSTMParams`; `Directions` of them for a `Bidirectional`; a tuple for a list of layers or a
      model. The bias is zero for a layer without a bias.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.
      ValueError: when the arrays are not those of an LSTM, or the sizes of consecutive layers do
        not match.

    >>> import numpy as np
    >>> forward = [np.ones((3, 20)), np.ones((5, 20)), np.ones(20)]
    >>> params = to_params([*forward, *forward])
    >>> params.backward.kernel.shape
    (3, 20)
    """
    function = "keras.to_params"
    several = _layers(theirs)
    layers = [_layer(function, layer) for layer in ([theirs] if several is None else several)]
    return join_layers(function, layers, stack=several is not None)


def _layers(theirs: Any) -> list[Any] | None:
    """Return the layers of a model or a list, including nested models; None for a single layer."""
    if hasattr(theirs, "layers"):
        layers = theirs.layers
    elif isinstance(theirs, list | tuple) and any(map(_is_layer, theirs)):
        layers = theirs
    else:
        return None
    return [inner for layer in layers for inner in _layers(layer) or [layer]]


def _is_layer(value: Any) -> bool:
    return isinstance(value, list | tuple) or hasattr(value, "get_weights")


def _layer(function: str, theirs: Any) -> Layer:
    is_object = hasattr(theirs, "get_weights")
    weights = theirs.get_weights() if is_object else theirs
    if not isinstance(weights, list | tuple):
        raise TypeError(
            f"{function}: weights must be a list, as returned by get_weights;"
            f" got {type(weights).__name__}"
        )
    if len(weights) in (2, 3):
        return (_direction(function, "", weights),)
    # A layer with two cells, which is no Bidirectional, also has 4 or 6 arrays.
    if len(weights) not in (4, 6) or (is_object and not hasattr(theirs, "backward_layer")):
        of = f" of {type(theirs).__name__}" if is_object else ""
        raise ValueError(
            f"{function}: an LSTM has 2 or 3 arrays, a Bidirectional 4 or 6; got {len(weights)}{of}"
        )
    half = len(weights) // 2
    sides = {"forward ": weights[:half], "backward ": weights[half:]}
    return tuple(_direction(function, prefix, side) for prefix, side in sides.items())


def _direction(function: str, prefix: str, weights: Sequence[Any]) -> Params:
    names = _NAMES[: len(weights)]
    given = {f"{prefix}{name}": array for name, array in zip(names, weights, strict=True)}
    arrays = as_arrays(function, given)
    kernel, recurrent, *_ = arrays.values()
    sizes = {"I": axis_size(kernel, 0), "H": axis_size(recurrent, 0)}
    for name, (full_name, array) in zip(names, arrays.items(), strict=True):
        check_shape(function, full_name, array, families.LSTM.axes[name], **sizes)
    return make_params(families.LSTM, dict(zip(names, arrays.values(), strict=True)))


def from_params(params: PyTree, *, bias: bool = True) -> list[Any]:
    """Convert parameters to the weights of Keras, for `set_weights`.

    Args:
      params: `LSTMParams`, `Directions` of them, or a tuple of layers.
      bias: False for layers with ``use_bias=False``; the biases must then be zero.

    Returns:
      A list of arrays; a list of such lists for a tuple of layers.

    Raises:
      TypeError: when `params` belong to another cell.
      ValueError: when Keras has no such layer, or a bias is nonzero with ``bias=False``.

    >>> import jax
    >>> import lstm_jax as lj
    >>> params = lj.LSTM(3, 5).init(jax.random.key(0))
    >>> [array.shape for array in from_params(params)]
    [(3, 20), (5, 20), (20,)]
    """
    layers = split_layers("keras.from_params", params, supported=[families.LSTM], bias=bias)
    names = _NAMES if bias else _NAMES[:2]
    weights = [[getattr(each, name) for each in layer for name in names] for layer in layers]
    return like_params(params, weights)
