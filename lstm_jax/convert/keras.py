"""Weights of Keras 3: `LSTM`, `GRU`, `SimpleRNN`, `Bidirectional`, and models of these layers.

`get_weights` of a layer returns ``kernel [I, kH]``, ``recurrent_kernel [H, kH]`` and, with
``use_bias``, a bias, with k gate blocks. For a `Bidirectional`, all arrays of the forward layer
come before those of the backward layer.

    LSTM         bias [4H]       in the gate order i, f, c, o, where c is our g
    GRU          bias [2, 3H]    in the gate order z, r, h, where h is our n; with ``reset_after``
    GRU          bias [3H]       in the same order, without ``reset_after``
    SimpleRNN    bias [H]
    CuDNNLSTM    bias [8H]       of Keras 2: transposed kernels, and two biases to be added
    CuDNNGRU     bias [6H]       of Keras 2: transposed kernels, and both biases in one axis

The second bias of a GRU is our recurrent bias in its last block, and the other blocks are added to
the first. Conversion is exact in both directions but for these sums.

A layer or a model as an object also tells its activations and how it merges two directions:
`to_cell` returns the cell that computes the same. `keras_layers` describes what is read.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from lstm_jax.cells import GRUParams
from lstm_jax.convert import families
from lstm_jax.convert.cell_of_params import layer_cell
from lstm_jax.convert.checks import as_arrays, axis_size, check_shape
from lstm_jax.convert.families import (
    Family,
    Params,
    family_of_width,
    join_gru_biases,
    make_params,
    split_gru_biases,
)
from lstm_jax.convert.gate_order import reorder_gates
from lstm_jax.convert.keras_layers import Direction, RecurrentLayer, is_object, layers_of
from lstm_jax.convert.layer_params import Layer, join_layers, like_params, split_layers
from lstm_jax.transforms import stack as stack_cells
from lstm_jax.types import PyTree

_NAMES: tuple[str, ...] = ("kernel", "recurrent_kernel", "bias")
_GRU_ORDER = "zrn"
_FAMILIES = (families.LSTM, families.GRU, families.GRU_RESET_BEFORE, families.TANH_RNN)


def to_params(theirs: Any, *, reset_after: bool | None = None) -> PyTree:
    """Convert the weights of Keras to parameters.

    Args:
      theirs: the result of `get_weights` of an `LSTM`, `GRU`, `SimpleRNN` or `Bidirectional`, or
        the layer itself; or a list of these, from the input up; or a model, Sequential or
        functional, whose layers form a chain of these, `InputLayer`, `Masking`, and layers such as
        `Dropout`. A flat list of 4 or 6 arrays is read as one `Bidirectional`; `get_weights` of a
        model with two layers returns a list of the same form, so pass the model or its layers.
      reset_after: of a GRU without a bias, if its weights are given: only a bias or the layer
        tells it.

    Returns:
      `LSTMParams`, `GRUParams` or `TanhRNNParams`; `Directions` of them for a `Bidirectional`; a
      tuple for a list of layers or a model. The bias is zero for a layer without a bias.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.
      ValueError: when the arrays or layers are not those of a recurrent layer, the sizes of
        consecutive layers do not match, or a layer has other activations or another way to merge
        than `cell_of` assumes; `to_cell` converts it.

    >>> import numpy as np
    >>> forward = [np.ones((3, 20)), np.ones((5, 20)), np.ones(20)]
    >>> params = to_params([*forward, *forward])
    >>> params.backward.kernel.shape
    (3, 20)
    """
    function = "keras.to_params"
    found, stack = _recurrent_layers(function, theirs)
    for layer in found:
        if layer.changed:
            raise ValueError(
                f"{function}: {layer.name} has {', '.join(layer.changed)}, which cell_of does not"
                " know: call to_cell, which returns the cell and its parameters"
            )
    layers = [_layer(function, layer, reset_after) for layer in found]
    return join_layers(function, layers, stack=stack)


def to_cell(theirs: Any, *, reset_after: bool | None = None) -> tuple[Any, PyTree]:
    """Convert a layer or a model of Keras to the cell that computes the same, and its parameters.

    Args:
      theirs: as for `to_params`.
      reset_after: as for `to_params`.

    Returns:
      The cell, with the layers' activations and their ways to merge two directions; and its
      parameters, as `to_params` returns them.

    Raises:
      TypeError, ValueError: as `to_params`; or ValueError when an activation is not one of Keras.

    >>> import numpy as np
    >>> cell, params = to_cell([np.ones((3, 5)), np.ones((5, 5)), np.ones(5)])
    >>> cell
    TanhRNN(input_size=3, hidden_size=5)
    """
    function = "keras.to_cell"
    found, stack = _recurrent_layers(function, theirs)
    layers = [_layer(function, layer, reset_after) for layer in found]
    merges = [layer.merge for layer in found]
    params = join_layers(function, layers, stack=stack, merges=merges)
    cells = [
        layer_cell(layer, [each.activations for each in given.directions], given.merge)
        for layer, given in zip(layers, found, strict=True)
    ]
    return stack_cells(cells) if stack else cells[0], params


def _recurrent_layers(function: str, theirs: Any) -> tuple[list[RecurrentLayer], bool]:
    """Return the recurrent layers, and whether they are a stack."""
    if is_object(theirs):
        found = layers_of(function, theirs)
        return found, hasattr(theirs, "layers") or len(found) > 1
    if isinstance(theirs, list | tuple) and any(map(_is_layer, theirs)):
        return [each for layer in theirs for each in _recurrent_layers(function, layer)[0]], True
    return [_of_weights(function, theirs)], False


def _is_layer(value: Any) -> bool:
    return isinstance(value, list | tuple) or is_object(value)


def _of_weights(function: str, weights: Any) -> RecurrentLayer:
    """Return a layer of which only the weights are given."""
    if not isinstance(weights, list | tuple):
        raise TypeError(
            f"{function}: weights must be a list, as returned by get_weights;"
            f" got {type(weights).__name__}"
        )
    if len(weights) in (2, 3):
        return RecurrentLayer((Direction(weights),))
    if len(weights) not in (4, 6):
        raise ValueError(
            f"{function}: a recurrent layer has 2 or 3 arrays, a Bidirectional 4 or 6; got"
            f" {len(weights)}"
        )
    half = len(weights) // 2
    return RecurrentLayer((Direction(weights[:half]), Direction(weights[half:])))


def _layer(function: str, layer: RecurrentLayer, reset_after: bool | None) -> Layer:
    prefixes = ("forward ", "backward ") if len(layer.directions) == 2 else ("",)
    if layer.name:
        prefixes = tuple(f"{layer.name}, {prefix}" for prefix in prefixes)
    pairs = zip(prefixes, layer.directions, strict=True)
    return tuple(_direction(function, prefix, each, reset_after) for prefix, each in pairs)


def _direction(
    function: str, prefix: str, direction: Direction, reset_after: bool | None
) -> Params:
    names = _NAMES[: len(direction.weights)]
    if len(names) < 2:
        name = prefix.rstrip(", ")
        raise ValueError(f"{function}: {name} has no weights: build the layer first")
    pairs = zip(names, direction.weights, strict=True)
    arrays = as_arrays(function, {f"{prefix}{name}": array for name, array in pairs})
    kernel, recurrent, *bias = arrays.values()
    H = axis_size(recurrent, 0)
    family = family_of_width(axis_size(recurrent, 1), H)
    if H and bias and jnp.shape(bias[0]) == (2 * len(family.gates) * H,):
        kernel, recurrent, bias = _from_cudnn(family, kernel, recurrent, bias[0])
    if family is families.GRU:
        known = direction.reset_after if reset_after is None else reset_after
        family = _gru_family(function, prefix, known, bias)
    two_biases = family is families.GRU
    axes = {**family.axes} | ({"bias": f"[2, {family.width}]"} if two_biases else {})
    sizes = {"I": axis_size(kernel, 0), "H": H, "2": 2}
    for name, array in zip(names, [kernel, recurrent, *bias], strict=True):
        check_shape(function, f"{prefix}{name}", array, axes[name], **sizes)
    ours: dict[str, Any] = dict(zip(names, [kernel, recurrent, *bias], strict=True))
    if family in (families.GRU, families.GRU_RESET_BEFORE):
        ours = {
            n: reorder_gates(a, source=_GRU_ORDER, target=families.GRU.gates)
            for n, a in ours.items()
        }
    if two_biases and bias:
        ours |= join_gru_biases(*ours["bias"])
    return make_params(family, ours)


def _gru_family(
    function: str, prefix: str, reset_after: bool | None, bias: Sequence[Any]
) -> Family:
    if reset_after is None:
        if not bias:
            raise ValueError(
                f"{function}: {prefix}the weights of a GRU without a bias do not tell whether it"
                " resets after the product: pass reset_after, or the layer"
            )
        reset_after = jnp.ndim(bias[0]) == 2
    return families.GRU if reset_after else families.GRU_RESET_BEFORE


def _from_cudnn(
    family: Family, kernel: Any, recurrent: Any, bias: Any
) -> tuple[Any, Any, list[Any]]:
    """Return the arrays of a `CuDNNLSTM` or a `CuDNNGRU` in the form of an `LSTM` or a `GRU`.

    Each block of a kernel ``[I, H]`` has the entries of a matrix ``[H, I]`` in the same order.
    """
    blocks = len(family.gates)

    def transposed(array: Any) -> Any:
        matrices = jnp.split(jnp.asarray(array), blocks, axis=1)
        return jnp.concatenate([m.reshape(m.shape[::-1]).T for m in matrices], axis=1)

    two = bias.reshape(2, -1)
    return transposed(kernel), transposed(recurrent), [two if blocks == 3 else two.sum(axis=0)]


def from_params(params: PyTree, *, bias: bool = True) -> list[Any]:
    """Convert parameters to the weights of Keras, for `set_weights`.

    Args:
      params: `LSTMParams`, `GRUParams`, `TanhRNNParams`, `Directions` of them, or a tuple of
        layers. `GRUParams` without a ``recurrent_bias`` are for ``reset_after=False``.
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
    function = "keras.from_params"
    layers = split_layers(function, params, supported=_FAMILIES, bias=bias, merge=None)
    kept = 3 if bias else 2
    weights = [[array for each in layer for array in _weights(each)[:kept]] for layer in layers]
    return like_params(params, weights)


def _weights(params: Params) -> list[Any]:
    kernel, recurrent, bias = params[:3]
    if not isinstance(params, GRUParams):
        return [kernel, recurrent, bias]
    if params.recurrent_bias is not None:
        bias = jnp.stack(split_gru_biases(params))
    return [
        reorder_gates(a, source=families.GRU.gates, target=_GRU_ORDER)
        for a in (kernel, recurrent, bias)
    ]
