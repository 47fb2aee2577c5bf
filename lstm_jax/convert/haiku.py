"""Weights of Haiku: `hk.LSTM`, `hk.GRU` and `hk.VanillaRNN`.

An `hk.LSTM` has one linear layer of input and hidden state, in gate order i, g, f, o, and adds 1 to
the forget gate in every call. Our bias includes that 1:

    kernel, recurrent_kernel = w[:I], w[I:]
    bias                     = b, and b_f + 1 for the forget gate

The sum, and the difference in `from_params`, are rounded to the dtype of the weights. After a round
trip, the bias of the forget gate is equal to within half a unit in the last place of 1 + b_f: 6e-8
in float32 and 4e-3 in bfloat16 around 1. All other weights are exact.

An `hk.GRU` has ``w_i [I, 3H]``, ``w_h [H, 3H]`` and ``b [3H]``, in gate order z, r, a, and resets
before the product. Its update gate is 1 - z in our equations. As 1 - sigmoid(x) = sigmoid(-x), the
block z is negated in all three, which is exact.

An `hk.VanillaRNN` has two linear layers, ``linear`` of the input and ``linear_1`` of the hidden
state, and our bias is the sum of both biases. Its activation is relu, so the cell is
``TanhRNN(I, H, activation=jax.nn.relu)``, as `to_cell` returns it.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.cells.cell import Activation
from lstm_jax.convert import families
from lstm_jax.convert.cell_of_params import cell_of
from lstm_jax.convert.checks import (
    as_arrays,
    axis_size,
    check_mapping,
    check_names,
    check_shape,
    select_prefix,
)
from lstm_jax.convert.families import Params, make_params, required_family
from lstm_jax.convert.gate_order import reorder_gates
from lstm_jax.convert.layer_params import Layer, join_layers, natural_order, split_layers
from lstm_jax.types import PyTree

_LSTM_ORDER, _GRU_ORDER = "igfo", "zrn"
_NAMES = {
    families.LSTM: "lstm",
    families.GRU_RESET_BEFORE: "gru",
    families.TANH_RNN: "vanilla_rnn",
}
"""Default names of Haiku's modules."""

_SECOND = "_1"  # of two linear layers in one module


def to_params(theirs: Mapping[str, Any], *, prefix: str = "") -> PyTree:
    """Convert parameters of Haiku to ours.

    Args:
      theirs: the mapping of `hk.transform`, ``{"lstm/linear": {"w": [I+H, 4H], "b": [4H]},
        "lstm_1/linear": ...}`` or ``{"gru": {"w_i": ..., "w_h": ..., "b": ...}}``; or the arrays of
        one such module.
      prefix: the start of the layers' names, if the mapping has other modules as well: ``"lstm"``
        selects ``lstm/linear``, ``lstm_1/linear`` and so on.

    Returns:
      `LSTMParams`, with 1 added to the bias of the forget gate, or `GRUParams` without a
      ``recurrent_bias``; a tuple for more than one layer, in the natural order of their names.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.
      ValueError: when the names or shapes are not those of an LSTM or a GRU, the layers are not of
        one kind, or the sizes of consecutive layers do not match; or for an `hk.VanillaRNN`, which
        `to_cell` converts.

    >>> params = to_params({"w": jnp.ones((8, 20)), "b": jnp.zeros(20)})
    >>> params.kernel.shape, float(params.bias[5])
    ((3, 20), 1.0)
    """
    function = "haiku.to_params"
    layers = _layers(function, theirs, prefix)
    if _is_vanilla(layers):
        raise ValueError(
            f"{function}: the activation of hk.VanillaRNN is relu, not the tanh of cell_of: call"
            " to_cell, which returns the cell and its parameters"
        )
    return join_layers(function, layers, stack=len(layers) > 1)


def to_cell(theirs: Mapping[str, Any], *, prefix: str = "") -> tuple[Any, PyTree]:
    """Convert parameters of Haiku to the cell that computes the same, and its parameters.

    Args:
      theirs: as for `to_params`; or those of an `hk.VanillaRNN`, ``{"vanilla_rnn/linear": {"w":
        [I, H], "b": [H]}, "vanilla_rnn/linear_1": {"w": [H, H], "b": [H]}}``.
      prefix: as for `to_params`.

    Returns:
      The cell and its parameters; those of an `hk.VanillaRNN` are a `TanhRNN` with the activation
      relu.

    Raises:
      TypeError, ValueError: as `to_params`.

    >>> of_input, of_hidden = {"w": jnp.ones((3, 5)), "b": jnp.ones(5)}, {"w": jnp.ones((5, 5))}
    >>> to_cell({"linear": of_input, "linear_1": of_hidden})[1].bias.shape
    (5,)
    """
    function = "haiku.to_cell"
    layers = _layers(function, theirs, prefix)
    params = join_layers(function, layers, stack=len(layers) > 1)
    return cell_of(params, activation=jax.nn.relu if _is_vanilla(layers) else None), params


def _is_vanilla(layers: list[Layer]) -> bool:
    return bool(layers) and required_family(layers[0][0]) is families.TANH_RNN


def _layers(function: str, theirs: Any, prefix: str) -> list[Layer]:
    """Return the parameters of each layer."""
    check_mapping(function, "parameters", theirs)
    selected = select_prefix(function, theirs, prefix)
    if not selected:
        listed = ", ".join(theirs) or "none"
        raise ValueError(f"{function}: no name starts with {prefix!r}; the names are {listed}")
    if not any(isinstance(value, Mapping) for value in selected.values()):
        selected = {"": selected}
    arrays: dict[str, dict[str, Any]] = {}
    for module in natural_order(selected):
        if not isinstance(selected[module], Mapping):
            got = type(selected[module]).__name__
            raise TypeError(f"{function}: {module} must contain w and b; got {got}")
        first = module.removesuffix(_SECOND)
        of_pair = first.endswith("linear") and {first, first + _SECOND} <= selected.keys()
        layer = arrays.setdefault(first if of_pair else module, {})
        layer |= {f"{module}/{name}".lstrip("/"): a for name, a in selected[module].items()}
    layers = [_params(function, module, named) for module, named in arrays.items()]
    kinds = dict.fromkeys(required_family(params) for params in layers)
    if len(kinds) > 1:
        raise ValueError(
            f"{function}: the names do not tell the order of layers of different kinds,"
            f" {' and '.join(_NAMES[kind] for kind in kinds)}: convert them one by one"
        )
    return [(params,) for params in layers]


def _params(function: str, module: str, named: Mapping[str, Any]) -> Params:
    """Make the parameters of a layer from its arrays by full name."""
    prefix = f"{module}/" if module else ""
    if f"{module}{_SECOND}/w" in named:
        return _vanilla(function, module, named)
    if named.keys() & {f"{prefix}w_i", f"{prefix}w_h"}:
        return _gru(function, prefix, named)
    return _lstm(function, prefix, named)


def _lstm(function: str, prefix: str, named: Mapping[str, Any]) -> Params:
    w, b = _arrays(function, named, [f"{prefix}w", f"{prefix}b"])
    H = axis_size(b, 0) // 4
    inputs = max(axis_size(w, 0) - H, 1)
    check_shape(function, f"{prefix}b", b, "[4H]", H=H)
    check_shape(function, f"{prefix}w", w, "[I+H, 4H]", I=inputs, H=H)
    w, b = (_reordered(array, _LSTM_ORDER, families.LSTM.gates) for array in (w, b))
    bias = b + _forget_bias(H, b.dtype)
    ours = {"kernel": w[:inputs], "recurrent_kernel": w[inputs:], "bias": bias}
    return make_params(families.LSTM, ours)


def _gru(function: str, prefix: str, named: Mapping[str, Any]) -> Params:
    names = {f"{prefix}w_i": "[I, 3H]", f"{prefix}w_h": "[H, 3H]", f"{prefix}b": "[3H]"}
    arrays = _arrays(function, named, [*names])
    sizes = {"I": axis_size(arrays[0], 0), "H": axis_size(arrays[1], 0)}
    for (name, axes), array in zip(names.items(), arrays, strict=True):
        check_shape(function, name, array, axes, **sizes)
    family = families.GRU_RESET_BEFORE
    ours = [_with_negated_update(_reordered(a, _GRU_ORDER, family.gates)) for a in arrays]
    return make_params(family, dict(zip(family.axes, ours, strict=True)))


def _vanilla(function: str, module: str, named: Mapping[str, Any]) -> Params:
    bias = f"{module}{_SECOND}/b"
    names = {f"{module}/w": "[I, H]", f"{module}/b": "[H]", f"{module}{_SECOND}/w": "[H, H]"}
    names |= {bias: "[H]"} if bias in named else {}  # without it if double_bias=False
    arrays = dict(zip(names, _arrays(function, named, [*names]), strict=True))
    w, b, recurrent, *second = arrays.values()
    sizes = {"I": axis_size(w, 0), "H": axis_size(recurrent, 0)}
    for name, axes in names.items():
        check_shape(function, name, arrays[name], axes, **sizes)
    ours = {"kernel": w, "recurrent_kernel": recurrent, "bias": sum(second, b)}
    return make_params(families.TANH_RNN, ours)


def _arrays(function: str, named: Mapping[str, Any], names: list[str]) -> list[Any]:
    check_names(function, named, names)
    return [*as_arrays(function, {name: named[name] for name in names}).values()]


def _reordered(array: Any, source: str, target: str) -> jax.Array:
    return reorder_gates(array, source=source, target=target)


def _with_negated_update(array: jax.Array) -> jax.Array:
    """Negate the block of the update gate, in our order r, z, n."""
    r, z, n = jnp.split(array, 3, axis=-1)
    return jnp.concatenate([r, -z, n], axis=-1)


def _forget_bias(H: int, dtype: Any) -> jax.Array:
    """Return the bias that Haiku adds in a call, in our gate order: 1 for the forget gate."""
    return jnp.repeat(jnp.array([0, 1, 0, 0], dtype), H)


def from_params(
    params: PyTree, *, name: str | None = None, activation: Activation | None = None
) -> dict[str, dict[str, jax.Array]]:
    """Convert our parameters to those of Haiku.

    Args:
      params: `LSTMParams`, `GRUParams` of a GRU that resets before the product, `TanhRNNParams`,
        or a tuple of layers of one kind.
      name: name of the first module, ``"lstm"``, ``"gru"`` or ``"vanilla_rnn"`` by default;
        ``_1``, ``_2`` and so on are appended for the others.
      activation: for `TanhRNNParams`, the activation of their cell. It must be `jax.nn.relu`, as
        that of `hk.VanillaRNN` is.

    Returns:
      ``{"lstm/linear": {"w": ..., "b": ...}}``, with ``lstm_1/linear`` for the second layer. The
      bias of the forget gate has 1 subtracted.

    Raises:
      TypeError: when `params` belong to another cell.
      ValueError: when Haiku has no such layer.

    >>> import lstm_jax as lj
    >>> params = lj.stack(lj.LSTM(3, 5), lj.LSTM(5, 4)).init(jax.random.key(0))
    >>> {name: linear["w"].shape for name, linear in from_params(params).items()}
    {'lstm/linear': (8, 20), 'lstm_1/linear': (9, 16)}
    """
    function = "haiku.from_params"
    layers = split_layers(function, params, supported=[*_NAMES], directions=False)
    kinds = {required_family(each) for each, *_ in layers}
    if len(kinds) > 1:
        raise ValueError(f"{function}: layers must be of one kind: convert them one by one")
    (family,) = kinds
    if family is families.TANH_RNN and activation is not jax.nn.relu:
        raise ValueError(
            f"{function}: hk.VanillaRNN has the activation relu: pass activation=jax.nn.relu if"
            " that is the activation of your cell"
        )
    name = _NAMES[family] if name is None else name
    theirs = {}
    for k, (each, *_) in enumerate(layers):
        theirs |= _modules(family, f"{name}_{k}" if k else name, each)
    return theirs


def _modules(family: Any, name: str, params: Params) -> dict[str, dict[str, jax.Array]]:
    kernel, recurrent, bias = params[:3]
    if family is families.TANH_RNN:
        second = {"w": recurrent, "b": jnp.zeros_like(bias)}
        return {f"{name}/linear": {"w": kernel, "b": bias}, f"{name}/linear{_SECOND}": second}
    if family is families.GRU_RESET_BEFORE:
        ours = (_with_negated_update(array) for array in (kernel, recurrent, bias))
        w_i, w_h, b = (_reordered(array, family.gates, _GRU_ORDER) for array in ours)
        return {name: {"w_i": w_i, "w_h": w_h, "b": b}}
    w = jnp.concatenate([kernel, recurrent])
    b = bias - _forget_bias(recurrent.shape[0], bias.dtype)
    w, b = (_reordered(array, family.gates, _LSTM_ORDER) for array in (w, b))
    return {f"{name}/linear": {"w": w, "b": b}}
