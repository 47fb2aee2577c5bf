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

_NAMES = ("kernel", "recurrent_kernel", "bias")


def to_params(theirs: Any) -> PyTree:
    """Parameters from the weights of Keras.

    Args:
      theirs: what `get_weights` of an `LSTM` or a `Bidirectional` gives, or the layer itself; or a
        list of these, from the input up.

    Returns:
      `LSTMParams`; `Directions` of them for a `Bidirectional`; a tuple for a list of layers. Zeros
      stand for the bias of a layer without.

    Raises:
      TypeError: when there is something else than floating-point arrays, or dtypes differ.
      ValueError: when the arrays are not those of an LSTM, or layers do not fit on each other.

    >>> import numpy as np
    >>> forward = [np.ones((3, 20)), np.ones((5, 20)), np.ones(20)]
    >>> params = to_params([*forward, *forward])
    >>> params.backward.kernel.shape
    (3, 20)
    """
    weights = _weights(theirs)
    if weights and (isinstance(weights[0], list | tuple) or hasattr(weights[0], "get_weights")):
        layers = [_layer(_weights(layer)) for layer in weights]
        return assembled("keras.to_params", layers, stack=True)
    return assembled("keras.to_params", [_layer(weights)], stack=False)


def _weights(theirs: Any) -> Sequence[Any]:
    weights = theirs.get_weights() if hasattr(theirs, "get_weights") else theirs
    if not isinstance(weights, list | tuple):
        raise TypeError(
            "keras.to_params: weights must be a list, as get_weights gives it;"
            f" got {type(weights).__name__}"
        )
    return weights


def _layer(weights: Sequence[Any]) -> Layer:
    if len(weights) not in (2, 3, 4, 6):
        raise ValueError(
            "keras.to_params: an LSTM has 2 or 3 arrays, a Bidirectional 4 or 6;"
            f" got {len(weights)}"
        )
    if len(weights) in (2, 3):
        return (_direction("", weights),)
    half = len(weights) // 2
    return _direction("forward ", weights[:half]), _direction("backward ", weights[half:])


def _direction(where: str, weights: Sequence[Any]) -> Params:
    function = "keras.to_params"
    arrays = as_arrays(
        function, {where + name: w for name, w in zip(_NAMES, weights, strict=False)}
    )
    kernel, recurrent, *_ = arrays.values()
    H = size(recurrent, 0)
    for (name, array), axes in zip(arrays.items(), ("[I, 4H]", "[H, 4H]", "[4H]"), strict=False):
        check_shape(function, name, array, axes, H=H, I=size(kernel, 0))
    return one_direction(dict(zip(_NAMES, arrays.values(), strict=False)))


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
