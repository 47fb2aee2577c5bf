"""Weights of PyTorch: state dicts of `nn.LSTM` and `nn.LSTMCell`, and the files they are saved in.

For layer ``k``, with ``_reverse`` added for the backward direction:

    weight_ih_l{k} [4H, I]     kernel, transposed
    weight_hh_l{k} [4H, H]     recurrent kernel, transposed; [4H, P] with ``proj_size``
    bias_ih_l{k}   [4H]        our bias is the sum of the two
    bias_hh_l{k}   [4H]
    weight_hr_l{k} [P, H]      projection, transposed

The gates lie in our order, i, f, g, o. On the way back all of a bias is in ``bias_ih``, and
``bias_hh`` is zero: the function is kept, not how the bias was split; the sum is rounded to the
dtype of the weights. All else is exact both ways. `nn.LSTMCell` has the same names without ``_l0``.
"""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lstm_jax.cells import ProjectedLSTMParams
from lstm_jax.convert.arrays import as_arrays, check_names, check_shape, size, under
from lstm_jax.convert.layers import (
    Params,
    assembled,
    is_stack,
    layers_of,
    one_direction,
)
from lstm_jax.convert.torch_file import load_file
from lstm_jax.types import PyTree

__all__ = ["from_params", "load_file", "to_params"]

_WEIGHTS = ("weight_ih", "weight_hh")
_BIASES = ("bias_ih", "bias_hh")
_PROJECTION = "weight_hr"

Layout = Literal["nn.LSTM", "nn.LSTMCell"]


def to_params(theirs: Any, *, prefix: str = "") -> PyTree:
    """Parameters from a state dict of PyTorch.

    Args:
      theirs: state dict of an `nn.LSTM` or `nn.LSTMCell`, or the module itself; of a whole model
        with `prefix`. Tensors and NumPy arrays both do, so what `load_file` gives as well.
      prefix: what the names of the LSTM begin with, such as ``"encoder.lstm."``.

    Returns:
      `LSTMParams`, or `ProjectedLSTMParams` with ``proj_size``; `Directions` of them for a
      bidirectional one; a tuple for more than one layer. The bias is ``bias_ih + bias_hh``, or
      zeros with ``bias=False``.

    Raises:
      TypeError: when there is something else than floating-point arrays, or dtypes differ.
      ValueError: when the names or shapes are not those of an LSTM.

    >>> from numpy import ones
    >>> weights = {"weight_ih_l0": ones((20, 3)), "weight_hh_l0": ones((20, 5))}
    >>> biases = {"bias_ih_l0": ones(20), "bias_hh_l0": ones(20)}
    >>> params = to_params(weights | biases)
    >>> params.kernel.shape, float(params.bias[0])
    ((3, 20), 2.0)
    """
    function = "torch.to_params"
    state = theirs.state_dict() if hasattr(theirs, "state_dict") else theirs
    if not isinstance(state, Mapping):
        raise TypeError(f"{function}: a state dict is a mapping; got {type(state).__name__}")
    tensors = under(function, state, prefix)
    _check_prefix(function, state, prefix)
    parts = [*_WEIGHTS]
    parts += _BIASES if any(name.startswith(f"{prefix}bias") for name in tensors) else []
    parts += [_PROJECTION] if any(n.startswith(f"{prefix}{_PROJECTION}") for n in tensors) else []
    names = [
        [{part: f"{prefix}{part}{suffix}" for part in parts} for suffix in layer]
        for layer in _suffixes(tensors, f"{prefix}weight_ih")
    ]
    wanted = [name for layer in names for each in layer for name in each.values()]
    check_names(function, tensors, wanted)
    arrays = as_arrays(function, {name: tensors[name] for name in wanted})
    layers = [tuple(_direction(function, each, arrays) for each in layer) for layer in names]
    return assembled(function, layers, stack=len(layers) > 1)


def _check_prefix(function: str, state: Mapping[str, Any], prefix: str) -> None:
    """Raise when there is no LSTM right after the prefix, and say where there are some."""
    first = ("weight_ih_l0", "weight_ih")
    if any(f"{prefix}{name}" in state for name in first):
        return
    there = [name.removesuffix(end) for name in state for end in first if name.endswith(end)]
    if there:
        raise ValueError(
            f"{function}: no LSTM under prefix={prefix!r}; there is one under"
            f" {' and '.join(map(repr, there))}"
        )
    if not any(name.startswith(prefix) for name in state):
        raise ValueError(f"{function}: no name begins with {prefix!r}; there is none of an LSTM")


def _suffixes(tensors: Mapping[str, Any], first: str) -> list[tuple[str, ...]]:
    """For every layer what its names end with, for each direction."""
    if first in tensors:
        return [("",)]
    directions = 2 if any(name.endswith("_reverse") for name in tensors) else 1
    layers = 1
    while tensors.keys() & {f"{first}_l{layers}", f"{first}_l{layers}_reverse"}:
        layers += 1
    return [(f"_l{k}", f"_l{k}_reverse")[:directions] for k in range(layers)]


def _direction(function: str, names: Mapping[str, str], arrays: Mapping[str, Any]) -> Params:
    """Parameters of one direction, from what its parts are called and all arrays."""
    parts = {part: arrays[name] for part, name in names.items()}
    w_ih, w_hh = (parts[part] for part in _WEIGHTS)
    feeds_back = size(w_hh, 1)
    H = size(parts[_PROJECTION], 1) if _PROJECTION in parts else feeds_back
    axes = dict.fromkeys(_BIASES, "[4H]") | {"weight_ih": "[4H, I]", _PROJECTION: "[P, H]"}
    axes["weight_hh"] = "[4H, P]" if _PROJECTION in parts else "[4H, H]"
    for part, array in parts.items():
        check_shape(function, names[part], array, axes[part], I=size(w_ih, 1), H=H, P=feeds_back)
    ours = {"kernel": w_ih.T, "recurrent_kernel": w_hh.T}
    if _BIASES[0] in parts:
        ours["bias"] = parts["bias_ih"] + parts["bias_hh"]
    if _PROJECTION in parts:
        ours["projection"] = parts[_PROJECTION].T
    return one_direction(ours)


def from_params(
    params: PyTree, *, prefix: str = "", bias: bool = True, layout: Layout = "nn.LSTM"
) -> dict[str, jax.Array]:
    """A state dict of PyTorch from parameters.

    ``torch.from_dlpack(array)`` makes a tensor of each array, of any dtype; `load_state_dict` takes
    these.

    Args:
      params: `LSTMParams` or `ProjectedLSTMParams`, `Directions` of them, or a tuple of layers with
        as many units each.
      prefix: what the names shall begin with, such as ``"encoder.lstm."``.
      bias: false for an LSTM without biases; ours must be zero then.
      layout: ``"nn.LSTM"``, or ``"nn.LSTMCell"`` for one layer in one direction.

    Returns:
      Arrays by name. What was split over two biases is all in ``bias_ih``.

    Raises:
      TypeError: when `params` are of another cell.
      ValueError: when PyTorch has no LSTM for them, or a bias is in the way.

    >>> import lstm_jax as lj
    >>> params = lj.LSTM(3, 5).init(jax.random.key(0))
    >>> {name: array.shape for name, array in from_params(params, bias=True).items()}
    {'weight_ih_l0': (20, 3), 'weight_hh_l0': (20, 5), 'bias_ih_l0': (20,), 'bias_hh_l0': (20,)}
    """
    function = "torch.from_params"
    if layout not in ("nn.LSTM", "nn.LSTMCell"):
        raise ValueError(f"{function}: layout must be 'nn.LSTM' or 'nn.LSTMCell'; got {layout!r}")
    cell = layout == "nn.LSTMCell"
    layers = layers_of(
        function, params, projection=not cell, directions=not cell, uniform=True, bias=bias
    )
    if cell and is_stack(params):
        raise ValueError(f"{function}: an nn.LSTMCell is one layer; got a tuple of {len(layers)}")
    theirs = {}
    for k, layer in enumerate(layers):
        for each, direction in zip(layer, ("", "_reverse")[: len(layer)], strict=True):
            suffix = "" if cell else f"_l{k}{direction}"
            for name, array in _weights(function, each, bias).items():
                theirs[f"{prefix}{name}{suffix}"] = array
    return theirs


def _weights(function: str, params: Params, bias: bool) -> dict[str, jax.Array]:
    weights = {"weight_ih": params.kernel.T, "weight_hh": params.recurrent_kernel.T}
    if bias:
        weights |= {"bias_ih": params.bias, "bias_hh": jnp.zeros_like(params.bias)}
    if isinstance(params, ProjectedLSTMParams):
        H, P = params.projection.shape
        if P >= H:
            raise ValueError(
                f"{function}: proj_size must be below hidden_size in PyTorch; got {P} and {H}"
            )
        weights |= {_PROJECTION: params.projection.T}
    return weights
