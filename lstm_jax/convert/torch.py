"""Weights of PyTorch: state dicts of `nn.LSTM`, `nn.GRU` and `nn.RNN`, also from saved files.

For layer ``j``, with ``_reverse`` appended for the backward direction, and k gate blocks:

    weight_ih_l{j} [kH, I]     kernel, transposed
    weight_hh_l{j} [kH, H]     recurrent kernel, transposed; [4H, P] with ``proj_size``
    bias_ih_l{j}   [kH]        our bias is the sum of both biases
    bias_hh_l{j}   [kH]
    weight_hr_l{j} [P, H]      projection, transposed

The gate orders are ours: i, f, g, o of the LSTM, and r, z, n of the GRU. The names of
`nn.LSTMCell`, `nn.GRUCell` and `nn.RNNCell` are the same without ``_l0``. A GRU resets after the
product: the last block of ``bias_hh`` is our recurrent bias, and only the others are added to
``bias_ih``.

The sum of the biases is rounded to the dtype of the weights. `from_params` writes it to ``bias_ih``
and sets ``bias_hh`` to zero, except for the recurrent bias: the layer computes the same, but the
original split of the bias is lost. All other weights are exact in both directions.

A state dict does not have the ``nonlinearity`` of an `nn.RNN`, but the module does: `to_cell` reads
it. ``batch_first`` is a matter of layout, and ``dropout`` between layers acts in training only.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from lstm_jax.cells import GRUParams, ProjectedLSTMParams
from lstm_jax.cells.cell import Activation
from lstm_jax.convert import families
from lstm_jax.convert.cell_of_params import cell_of
from lstm_jax.convert.checks import (
    axis_size,
    check_mapping,
    check_names,
    check_shape,
    select_prefix,
)
from lstm_jax.convert.families import (
    Family,
    Params,
    family_of_width,
    join_gru_biases,
    make_params,
    required_family,
    split_gru_biases,
)
from lstm_jax.convert.layer_params import is_stack, join_layers, split_layers
from lstm_jax.convert.torch_file import load_file
from lstm_jax.convert.torch_reparametrizations import compute_weights, stored_weights
from lstm_jax.types import PyTree

__all__ = ["from_params", "load_file", "to_cell", "to_params"]

_WEIGHTS = ("weight_ih", "weight_hh")
_BIASES = ("bias_ih", "bias_hh")
_PROJECTION = "weight_hr"
_FIRST = ("weight_ih_l0", "weight_ih")

_LAYERS = {
    families.LSTM: "nn.LSTM",
    families.PROJECTED_LSTM: "nn.LSTM",
    families.GRU: "nn.GRU",
    families.TANH_RNN: "nn.RNN",
}
_CELLS = {
    family: f"{_LAYERS[family]}Cell" for family in (families.LSTM, families.GRU, families.TANH_RNN)
}

_NONLINEARITIES = {"tanh": None, "relu": jax.nn.relu}
"""Activations of `nn.RNN`; None for the default of our cell."""

Layout = Literal["nn.LSTM", "nn.LSTMCell", "nn.GRU", "nn.GRUCell", "nn.RNN", "nn.RNNCell"]


def to_params(theirs: Any, *, prefix: str = "") -> PyTree:
    """Convert a state dict of PyTorch to parameters.

    Args:
      theirs: the state dict of an `nn.LSTM`, `nn.GRU` or `nn.RNN`, or of a cell such as
        `nn.LSTMCell`, or the module itself; with `prefix`, that of a whole model. Values may be
        tensors or NumPy arrays, as returned by `load_file`. Weight norm, spectral norm, pruning
        and weight drop are applied as in evaluation.
      prefix: the start of the layer's names, such as ``"encoder.lstm."``.

    Returns:
      `LSTMParams`, or `ProjectedLSTMParams` with ``proj_size``; `GRUParams` with a
      ``recurrent_bias``; or `TanhRNNParams`. `Directions` of them if bidirectional; a tuple for
      more than one layer. Biases are zero with ``bias=False``.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.
      ValueError: when the names or shapes are not those of such a layer, or the module is an
        `nn.RNN` with another nonlinearity than tanh, which `to_cell` converts.

    >>> from numpy import ones
    >>> weights = {"weight_ih_l0": ones((20, 3)), "weight_hh_l0": ones((20, 5))}
    >>> biases = {"bias_ih_l0": ones(20), "bias_hh_l0": ones(20)}
    >>> params = to_params(weights | biases)
    >>> params.kernel.shape, float(params.bias[0])
    ((3, 20), 2.0)
    """
    function = "torch.to_params"
    if _activation(function, theirs, prefix) is not None:
        raise ValueError(
            f"{function}: the nonlinearity of the module is not tanh, the activation of cell_of:"
            " call to_cell, which returns the cell and its parameters"
        )
    return _to_params(function, theirs, prefix)


def to_cell(theirs: Any, *, prefix: str = "") -> tuple[Any, PyTree]:
    """Convert a module of PyTorch to the cell that computes the same, and its parameters.

    Args:
      theirs: an `nn.LSTM`, `nn.GRU` or `nn.RNN`, or a cell such as `nn.LSTMCell`; with `prefix`, a
        module that contains it. A state dict is converted as a module with tanh.
      prefix: the start of the layer's names, such as ``"encoder.lstm."``.

    Returns:
      The cell and its parameters, as `cell_of` and `to_params` return them.

    Raises:
      TypeError, ValueError: as `to_params`; or ValueError when the nonlinearity is not known.

    >>> from numpy import ones
    >>> to_cell({"weight_ih_l0": ones((15, 3)), "weight_hh_l0": ones((15, 5))})[0]
    GRU(input_size=3, hidden_size=5)
    """
    function = "torch.to_cell"
    activation = _activation(function, theirs, prefix)
    params = _to_params(function, theirs, prefix)
    return cell_of(params, activation=activation), params


def _activation(function: str, theirs: Any, prefix: str) -> Activation | None:
    """Return the activation of a module if it is not tanh."""
    module = theirs
    for name in filter(None, prefix.split(".")):
        module = getattr(module, name, None)
    nonlinearity = getattr(module, "nonlinearity", "tanh")
    if nonlinearity not in _NONLINEARITIES:
        raise ValueError(
            f"{function}: nonlinearity must be one of {(*_NONLINEARITIES,)}; got {nonlinearity!r}"
        )
    return _NONLINEARITIES[nonlinearity]


def _to_params(function: str, theirs: Any, prefix: str) -> PyTree:
    state = theirs.state_dict() if hasattr(theirs, "state_dict") else theirs
    check_mapping(function, "the state dict", state)
    every = stored_weights(state)
    weights = select_prefix(function, every, prefix)
    _check_prefix(function, every, prefix)
    parts = [*_WEIGHTS]
    parts += _BIASES if any(name.startswith(f"{prefix}bias") for name in weights) else []
    parts += [_PROJECTION] if any(n.startswith(f"{prefix}{_PROJECTION}") for n in weights) else []
    names = [
        [{part: f"{prefix}{part}{suffix}" for part in parts} for suffix in suffixes]
        for suffixes in _suffixes(weights, f"{prefix}weight_ih")
    ]
    expected = [name for layer in names for each in layer for name in each.values()]
    check_names(function, weights, expected)
    arrays = compute_weights(function, state, {name: weights[name] for name in expected})
    family = _family(names[0][0], arrays)
    layers = [
        tuple(_direction(function, family, each, arrays) for each in layer) for layer in names
    ]
    return join_layers(function, layers, stack=len(layers) > 1)


def _check_prefix(function: str, names: Iterable[str], prefix: str) -> None:
    """Check that the prefix selects a layer; otherwise, list the prefixes that do."""
    names = [*names]
    if any(f"{prefix}{name}" in names for name in _FIRST):
        return
    found = [name.removesuffix(end) for name in names for end in _FIRST if name.endswith(end)]
    if found:
        raise ValueError(
            f"{function}: no LSTM, GRU or RNN under prefix={prefix!r}; found under"
            f" {' and '.join(map(repr, found))}"
        )
    if not any(name.startswith(prefix) for name in names):
        raise ValueError(
            f"{function}: no name starts with {prefix!r}, and no LSTM, GRU or RNN was found"
        )


def _suffixes(tensors: Mapping[str, Any], first: str) -> list[tuple[str, ...]]:
    """Return, for every layer, the name suffix of each direction."""
    if first in tensors:
        return [("",)]
    directions = 2 if any(name.endswith("_reverse") for name in tensors) else 1
    layers = 1
    while tensors.keys() & {f"{first}_l{layers}", f"{first}_l{layers}_reverse"}:
        layers += 1
    return [(f"_l{k}", f"_l{k}_reverse")[:directions] for k in range(layers)]


def _family(names: Mapping[str, str], arrays: Mapping[str, Any]) -> Family:
    """Return the family of a layer, all of which have the same names."""
    if _PROJECTION in names:
        return families.PROJECTED_LSTM
    w_hh = arrays[names["weight_hh"]]
    return family_of_width(axis_size(w_hh, 0), axis_size(w_hh, 1))


def _direction(
    function: str, family: Family, names: Mapping[str, str], arrays: Mapping[str, Any]
) -> Params:
    """Make the parameters of one direction.

    Args:
      function: the public function to name in errors.
      family: the family of all layers.
      names: the full name of each part, such as ``"weight_ih"``.
      arrays: all arrays by full name.

    Returns:
      The parameters.
    """
    parts = {part: arrays[name] for part, name in names.items()}
    w_ih, w_hh = (parts[part] for part in _WEIGHTS)
    P = axis_size(w_hh, 1)
    H = axis_size(parts[_PROJECTION], 1) if _PROJECTION in parts else P
    width = family.width
    axes = dict.fromkeys(_BIASES, f"[{width}]") | {"weight_ih": f"[{width}, I]"}
    axes["weight_hh"] = f"[{width}, {'P' if _PROJECTION in parts else 'H'}]"
    axes[_PROJECTION] = "[P, H]"
    for part, array in parts.items():
        check_shape(function, names[part], array, axes[part], I=axis_size(w_ih, 1), H=H, P=P)
    ours = {"kernel": w_ih.T, "recurrent_kernel": w_hh.T}
    if _BIASES[0] in parts:
        b_ih, b_hh = (parts[part] for part in _BIASES)
        ours |= join_gru_biases(b_ih, b_hh) if family is families.GRU else {"bias": b_ih + b_hh}
    if _PROJECTION in parts:
        ours["projection"] = parts[_PROJECTION].T
    return make_params(family, ours)


def from_params(
    params: PyTree, *, prefix: str = "", bias: bool = True, layout: Layout | None = None
) -> dict[str, jax.Array]:
    """Convert parameters to a state dict of PyTorch.

    Args:
      params: `LSTMParams`, `ProjectedLSTMParams`, `GRUParams` or `TanhRNNParams`, `Directions` of
        them, or a tuple of layers with equal units and directions. A GRU must reset after the
        product.
      prefix: start of all names.
      bias: False for a module with ``bias=False``; the biases must then be zero.
      layout: the module: ``"nn.LSTM"`` for LSTMs, and so on, by default; or ``"nn.LSTMCell"``,
        ``"nn.GRUCell"`` or ``"nn.RNNCell"`` for one layer in one direction.

    Returns:
      Arrays by name, with the bias in ``bias_ih``, and zeros in ``bias_hh`` except for the
      recurrent bias of a GRU.

    Raises:
      TypeError: when `params` belong to another cell.
      ValueError: when PyTorch has no such layer, or a bias is nonzero with ``bias=False``.

    >>> import lstm_jax as lj
    >>> params = lj.LSTM(3, 5).init(jax.random.key(0))
    >>> {name: array.shape for name, array in from_params(params, bias=True).items()}
    {'weight_ih_l0': (20, 3), 'weight_hh_l0': (20, 5), 'bias_ih_l0': (20,), 'bias_hh_l0': (20,)}
    """
    function = "torch.from_params"
    if layout is not None and layout not in get_args(Layout):
        raise ValueError(f"{function}: layout must be one of {get_args(Layout)}; got {layout!r}")
    cell = layout is not None and layout.endswith("Cell")
    modules = _CELLS if cell else _LAYERS
    layers = split_layers(
        function, params, supported=[*modules], directions=not cell, uniform=True, bias=bias
    )
    if cell and is_stack(params):
        raise ValueError(f"{function}: {layout} has one layer; got a tuple of {len(layers)}")
    module = modules[required_family(layers[0][0])]
    if layout not in (None, module):
        got = type(layers[0][0]).__name__
        raise ValueError(f"{function}: layout must be {module!r} for {got}; got {layout!r}")
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
        two = params.bias, jnp.zeros_like(params.bias)
        if isinstance(params, GRUParams):
            two = split_gru_biases(params)
        weights |= dict(zip(_BIASES, two, strict=True))
    if isinstance(params, ProjectedLSTMParams):
        H, P = params.projection.shape
        if P >= H:
            raise ValueError(
                f"{function}: proj_size must be below hidden_size in PyTorch; got {P} and {H}"
            )
        weights |= {_PROJECTION: params.projection.T}
    return weights
