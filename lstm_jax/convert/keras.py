"""Weights of Keras 3: `LSTM`, `Bidirectional`, and layers on top of each other.

A layer's `get_weights` gives ``kernel [I, 4H]``, ``recurrent_kernel [H, 4H]`` and, with
``use_bias``, ``bias [4H]``, the gates in the order i, f, c, o, where c is our g; of a
`Bidirectional` first all of the forward layer, then all of the backward one. These are our own
arrays: both ways are exact.
"""

from collections.abc import Sequence
from typing import Any

from lstm_jax.convert.arrays import as_arrays, check_shape, size
from lstm_jax.convert.layers import (
    Layer,
    Params,
    assembled,
    is_stack,
    layers_of,
    one_direction,
)
from lstm_jax.types import PyTree

_AXES = {"kernel": "[I, 4H]", "recurrent_kernel": "[H, 4H]", "bias": "[4H]"}
_NAMES = (*_AXES,)


def to_params(theirs: Any) -> PyTree:
    """Parameters from the weights of Keras.

    Args:
      theirs: what `get_weights` of an `LSTM` or a `Bidirectional` gives, or the layer itself; or a
        list of these, from the input up, or a model of such layers alone. A flat list of 4 or 6
        arrays must be that of one `Bidirectional`: what a model of two layers gives looks the same.

    Returns:
      `LSTMParams`; `Directions` of them for a `Bidirectional`; a tuple for a list of layers or a
      model. Zeros stand for the bias of a layer without.

    Raises:
      TypeError: when there is something else than floating-point arrays, or dtypes differ.
      ValueError: when the arrays are not those of an LSTM, or layers do not fit on each other.

    >>> import numpy as np
    >>> forward = [np.ones((3, 20)), np.ones((5, 20)), np.ones(20)]
    >>> params = to_params([*forward, *forward])
    >>> params.backward.kernel.shape
    (3, 20)
    """
    function = "keras.to_params"
    layers = _layers(theirs)
    if layers is None:
        return assembled(function, [_layer(function, theirs)], stack=False)
    return assembled(function, [_layer(function, layer) for layer in layers], stack=True)


def _layers(theirs: Any) -> list[Any] | None:
    """The layers of a model or a list, and of models in there; None for what is one layer."""
    if hasattr(theirs, "layers"):
        layers = theirs.layers
    elif isinstance(theirs, list | tuple) and any(map(_is_layer, theirs)):
        layers = theirs
    else:
        return None
    return [inner for layer in layers for inner in _layers(layer) or [layer]]


def _is_layer(each: Any) -> bool:
    return isinstance(each, list | tuple) or hasattr(each, "get_weights")


def _layer(function: str, theirs: Any) -> Layer:
    weights = theirs.get_weights() if hasattr(theirs, "get_weights") else theirs
    if not isinstance(weights, list | tuple):
        raise TypeError(
            f"{function}: weights must be a list, as get_weights gives it;"
            f" got {type(weights).__name__}"
        )
    if len(weights) in (2, 3):
        return (_direction(function, "", weights),)
    # Two cells in one layer have as many arrays.
    live = weights is not theirs
    if len(weights) not in (4, 6) or (live and not hasattr(theirs, "backward_layer")):
        of = f" of {type(theirs).__name__}" if live else ""
        raise ValueError(
            f"{function}: an LSTM has 2 or 3 arrays, a Bidirectional 4 or 6; got {len(weights)}{of}"
        )
    half = len(weights) // 2
    sides = {"forward ": weights[:half], "backward ": weights[half:]}
    return tuple(_direction(function, where, side) for where, side in sides.items())


def _direction(function: str, where: str, weights: Sequence[Any]) -> Params:
    names = _NAMES[: len(weights)]
    given = {f"{where}{name}": array for name, array in zip(names, weights, strict=True)}
    arrays = as_arrays(function, given)
    kernel, recurrent, *_ = arrays.values()
    for name, (called, array) in zip(names, arrays.items(), strict=True):
        check_shape(function, called, array, _AXES[name], I=size(kernel, 0), H=size(recurrent, 0))
    return one_direction(dict(zip(names, arrays.values(), strict=True)))


def from_params(params: PyTree, *, bias: bool = True) -> list[Any]:
    """The weights of Keras from parameters: for `set_weights`.

    Args:
      params: `LSTMParams`, `Directions` of them, or a tuple of layers.
      bias: false for layers without one; the biases must be zero then.

    Returns:
      A list of arrays; a list of such lists for a tuple of layers.

    Raises:
      TypeError: when `params` are of another cell.
      ValueError: when Keras has no layer for them, or a bias is in the way.

    >>> import jax
    >>> import lstm_jax as lj
    >>> params = lj.LSTM(3, 5).init(jax.random.key(0))
    >>> [array.shape for array in from_params(params)]
    [(3, 20), (5, 20), (20,)]
    """
    layers = layers_of("keras.from_params", params, projection=False, bias=bias)
    names = _NAMES if bias else _NAMES[:2]
    weights = [[getattr(each, name) for each in layer for name in names] for layer in layers]
    return weights if is_stack(params) else weights[0]
