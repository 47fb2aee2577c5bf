"""Weights of PyTorch: state dicts of `nn.LSTM` and `nn.LSTMCell`, also from saved files.

For layer ``k``, with ``_reverse`` appended for the backward direction:

    weight_ih_l{k} [4H, I]     kernel, transposed
    weight_hh_l{k} [4H, H]     recurrent kernel, transposed; [4H, P] with ``proj_size``
    bias_ih_l{k}   [4H]        our bias is the sum of both biases
    bias_hh_l{k}   [4H]
    weight_hr_l{k} [P, H]      projection, transposed

The gate order is ours, i, f, g, o. The names of `nn.LSTMCell` are the same without ``_l0``.

The sum of the biases is rounded to the dtype of the weights. `from_params` writes it to ``bias_ih``
and sets ``bias_hh`` to zero: the layer computes the same, but the original split of the bias is
lost. All other weights are exact in both directions.
"""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lstm_jax.cells import ProjectedLSTMParams
from lstm_jax.convert import families
from lstm_jax.convert.checks import (
    as_arrays,
    axis_size,
    check_mapping,
    check_names,
    check_shape,
    select_prefix,
)
from lstm_jax.convert.families import Params, make_params
from lstm_jax.convert.layer_params import (
    is_stack,
    join_layers,
    split_layers,
)
from lstm_jax.convert.torch_file import load_file
from lstm_jax.types import PyTree

__all__ = ["from_params", "load_file", "to_params"]

_WEIGHTS = ("weight_ih", "weight_hh")
_BIASES = ("bias_ih", "bias_hh")
_PROJECTION = "weight_hr"

Layout = Literal["nn.LSTM", "nn.LSTMCell"]


def to_params(theirs: Any, *, prefix: str = "") -> PyTree:
    """Convert a state dict of PyTorch to parameters.

    Args:
      theirs: the state dict of an `nn.LSTM` or `nn.LSTMCell`, or the module itself; with `prefix`,
        the state dict of a whole model. Values may be tensors or NumPy arrays, as returned by
        `load_file`.
      prefix: the start of the LSTM's names, such as ``"encoder.lstm."``.

    Returns:
      `LSTMParams`, or `ProjectedLSTMParams` with ``proj_size``; `Directions` of them if
      bidirectional; a tuple for more than one layer. The bias is ``bias_ih + bias_hh``, or zero
      with ``bias=False``.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.
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
    check_mapping(function, "the state dict", state)
    tensors = select_prefix(function, state, prefix)
    _check_prefix(function, state, prefix)
    parts = [*_WEIGHTS]
    parts += _BIASES if any(name.startswith(f"{prefix}bias") for name in tensors) else []
    parts += [_PROJECTION] if any(n.startswith(f"{prefix}{_PROJECTION}") for n in tensors) else []
    names = [
        [{part: f"{prefix}{part}{suffix}" for part in parts} for suffix in suffixes]
        for suffixes in _suffixes(tensors, f"{prefix}weight_ih")
    ]
    expected = [name for layer in names for each in layer for name in each.values()]
    check_names(function, tensors, expected)
    arrays = as_arrays(function, {name: tensors[name] for name in expected})
    layers = [tuple(_direction(function, each, arrays) for each in layer) for layer in names]
    return join_layers(function, layers, stack=len(layers) > 1)


def _check_prefix(function: str, state: Mapping[str, Any], prefix: str) -> None:
    """Check that the prefix selects an LSTM; otherwise, list the prefixes that do."""
    first = ("weight_ih_l0", "weight_ih")
    if any(f"{prefix}{name}" in state for name in first):
        return
    found = [name.removesuffix(end) for name in state for end in first if name.endswith(end)]
    if found:
        raise ValueError(
            f"{function}: no LSTM under prefix={prefix!r}; found under"
            f" {' and '.join(map(repr, found))}"
        )
    if not any(name.startswith(prefix) for name in state):
        raise ValueError(f"{function}: no name starts with {prefix!r}, and no LSTM was found")


def _suffixes(tensors: Mapping[str, Any], first: str) -> list[tuple[str, ...]]:
    """Return, for every layer, the name suffix of each direction."""
    if first in tensors:
        return [("",)]
    directions = 2 if any(name.endswith("_reverse") for name in tensors) else 1
    layers = 1
    while tensors.keys() & {f"{first}_l{layers}", f"{first}_l{layers}_reverse"}:
        layers += 1
    return [(f"_l{k}", f"_l{k}_reverse")[:directions] for k in range(layers)]


def _direction(function: str, names: Mapping[str, str], arrays: Mapping[str, Any]) -> Params:
    """Make the parameters of one direction.

    Args:
      function: the public function to name in errors.
      names: the full name of each part, such as ``"weight_ih"``.
      arrays: all arrays by full name.

    Returns:
      The parameters.
    """
    parts = {part: arrays[name] for part, name in names.items()}
    w_ih, w_hh = (parts[part] for part in _WEIGHTS)
    P = axis_size(w_hh, 1)
    H = axis_size(parts[_PROJECTION], 1) if _PROJECTION in parts else P
    axes = dict.fromkeys(_BIASES, "[4H]") | {"weight_ih": "[4H, I]", _PROJECTION: "[P, H]"}
    axes["weight_hh"] = "[4H, P]" if _PROJECTION in parts else "[4H, H]"
    for part, array in parts.items():
        check_shape(function, names[part], array, axes[part], I=axis_size(w_ih, 1), H=H, P=P)
    ours = {"kernel": w_ih.T, "recurrent_kernel": w_hh.T}
    if _BIASES[0] in parts:
        ours["bias"] = parts["bias_ih"] + parts["bias_hh"]
    if _PROJECTION in parts:
        ours["projection"] = parts[_PROJECTION].T
    family = families.PROJECTED_LSTM if _PROJECTION in parts else families.LSTM
    return make_params(family, ours)


def from_params(
    params: PyTree, *, prefix: str = "", bias: bool = True, layout: Layout = "nn.LSTM"
) -> dict[str, jax.Array]:
    """Convert parameters to a state dict of PyTorch.

    ``torch.from_dlpack(array)`` makes a tensor from each array, of any dtype, for
    `load_state_dict`.

    Args:
      params: `LSTMParams` or `ProjectedLSTMParams`, `Directions` of them, or a tuple of layers with
        equal units.
      prefix: the start of the names, such as ``"encoder.lstm."``.
      bias: False for an LSTM with ``bias=False``; our biases must then be zero.
      layout: ``"nn.LSTM"``, or ``"nn.LSTMCell"`` for one layer in one direction.

    Returns:
      Arrays by name, with the bias in ``bias_ih`` and zeros in ``bias_hh``.

    Raises:
      TypeError: when `params` belong to another cell.
      ValueError: when PyTorch has no such LSTM, or a bias is nonzero with ``bias=False``.

    >>> import lstm_jax as lj
    >>> params = lj.LSTM(3, 5).init(jax.random.key(0))
    >>> {name: array.shape for name, array in from_params(params, bias=True).items()}
    {'weight_ih_l0': (20, 3), 'weight_hh_l0': (20, 5), 'bias_ih_l0': (20,), 'bias_hh_l0': (20,)}
    """
    function = "torch.from_params"
    if layout not in ("nn.LSTM", "nn.LSTMCell"):
        raise ValueError(f"{function}: layout must be 'nn.LSTM' or 'nn.LSTMCell'; got {layout!r}")
    cell = layout == "nn.LSTMCell"
    layers = split_layers(
        function,
        params,
        supported=families.FAMILIES[: 1 if cell else 2],
        directions=not cell,
        uniform=True,
        bias=bias,
    )
    if cell and is_stack(params):
        raise ValueError(f"{function}: nn.LSTMCell has one layer; got a tuple of {len(layers)}")
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
