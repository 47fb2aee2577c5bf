"""LSTM parameters by layer and direction: the form between our pytrees and other libraries.

Every library has its own way to assign weights to layers and directions. Converters translate it
to and from one form: a list of layers from the input up, each a tuple with the parameters of its
directions.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.bidirectional import Directions, bidirectional
from lstm_jax.cells import LSTM, ProjectedLSTM, ProjectedLSTMParams
from lstm_jax.convert.checks import axis_size, check_shape
from lstm_jax.transforms import stack
from lstm_jax.types import LSTMParams, PyTree

Params = LSTMParams | ProjectedLSTMParams
"""Parameters of one layer in one direction."""

Layer = tuple[Params, ...]
"""Parameters of one layer: one direction, or forward and backward."""

AXES = {"kernel": "[I, 4H]", "recurrent_kernel": "[H, 4H]", "bias": "[4H]"}
"""Shapes of `LSTMParams` in axis letters."""


def cell_of(params: PyTree) -> Any:
    """Return the cell for converted parameters.

    ``lj.unroll(cell_of(params), params, xs)`` computes the same as the layer of the other library,
    if that has the default activations, sigmoid and tanh, and concatenates both directions.

    Args:
      params: `LSTMParams`, `ProjectedLSTMParams`, `Directions` of these, or a tuple of layers, as
        every `to_params` returns them.

    Returns:
      `LSTM`, `ProjectedLSTM`, a `bidirectional` of these, or a `stack`, with the parameters' dtype.

    Raises:
      TypeError: when `params` belong to another cell.
      ValueError: when their shapes do not match.

    >>> import lstm_jax as lj
    >>> params = lj.stack(lj.LSTM(3, 5), lj.LSTM(5, 4)).init(jax.random.key(0))
    >>> cell_of(params)
    Stack(cells=(LSTM(input_size=3, hidden_size=5), LSTM(input_size=5, hidden_size=4)))
    """
    cells = [_layer_cell(layer) for layer in split_layers("cell_of", params)]
    return stack(cells) if is_stack(params) else cells[0]


def _layer_cell(layer: Layer) -> Any:
    cells = []
    for params in layer:
        inputs, dtype = params.kernel.shape[0], params.kernel.dtype
        if isinstance(params, ProjectedLSTMParams):
            H, P = params.projection.shape
            cells.append(ProjectedLSTM(inputs, H, projection_size=P, dtype=dtype))
        else:
            cells.append(LSTM(inputs, params.recurrent_kernel.shape[0], dtype=dtype))
    return bidirectional(*cells) if len(cells) == 2 else cells[0]


def make_params(arrays: Mapping[str, Any]) -> Params:
    """Make the parameters of one direction from arrays with checked shapes.

    The arrays are copied: later changes to the arrays of the other library have no effect.

    Args:
      arrays: ``kernel [I, 4H]``, ``recurrent_kernel``, and optionally ``bias [4H]``, zeros by
        default, and ``projection [H, P]``.

    Returns:
      `LSTMParams`, or `ProjectedLSTMParams` with a projection. Float64 becomes float32 unless JAX
      has it enabled.

    >>> make_params({"kernel": jnp.ones((3, 8)), "recurrent_kernel": jnp.ones((2, 8))}).bias.shape
    (8,)
    """
    ours = {name: jnp.array(array) for name, array in arrays.items()}
    if "bias" not in ours:
        ours["bias"] = jnp.zeros(ours["kernel"].shape[-1:], ours["kernel"].dtype)
    return (ProjectedLSTMParams if "projection" in ours else LSTMParams)(**ours)


def join_layers(function: str, layers: Sequence[Layer], *, stack: bool) -> PyTree:
    """Join layers into the parameters of their cell: the inverse of `split_layers`.

    Args:
      function: the public function to name in errors.
      layers: from the input up.
      stack: whether to return a tuple of layers, for `stack`, even when there is only one.

    Returns:
      `Directions` for a layer with two directions; a tuple of layers for a stack.

    Raises:
      ValueError: when there is no layer, or the input features of a layer are not the outputs of
        the layer below.

    >>> import lstm_jax as lj
    >>> params = lj.LSTM(3, 5).init(jax.random.key(0))
    >>> join_layers("keras.to_params", [(params,), (params,)], stack=True)
    Traceback (most recent call last):
    ValueError: keras.to_params: layer 2 must have 5 input features, the outputs of layer 1; got 3
    """
    if not layers:
        raise ValueError(f"{function}: at least one layer is needed; got none")
    for layer in layers:
        inputs = [params.kernel.shape[0] for params in layer]
        if len({*inputs}) > 1:
            raise ValueError(
                f"{function}: both directions must have the same input features; got {inputs}"
            )
    for k, (lower, upper) in enumerate(pairwise(layers), start=2):
        outputs = sum(params.recurrent_kernel.shape[0] for params in lower)
        if outputs != (got := upper[0].kernel.shape[0]):
            raise ValueError(
                f"{function}: layer {k} must have {outputs} input features, the outputs of layer"
                f" {k - 1}; got {got}"
            )
    each = tuple(Directions(*layer) if len(layer) == 2 else layer[0] for layer in layers)
    return each if stack else each[0]


def is_stack(params: PyTree) -> bool:
    """Return whether parameters are a tuple of layers, not the NamedTuple of one layer.

    >>> is_stack(LSTMParams(1, 2, 3)), is_stack((LSTMParams(1, 2, 3),))
    (False, True)
    """
    return isinstance(params, tuple | list) and not hasattr(params, "_fields")


def split_layers(
    function: str,
    params: PyTree,
    *,
    projection: bool = True,
    directions: bool = True,
    uniform: bool = False,
    bias: bool = True,
) -> list[Layer]:
    """Split parameters into layers, and check that the other library supports them.

    Args:
      function: the public function to name in errors, which starts with the library's name.
      params: as for `cell_of`.
      projection: whether the library has projections.
      directions: whether the library has bidirectional layers.
      uniform: whether the library needs equal directions and units in all layers.
      bias: whether biases may be nonzero.

    Returns:
      For each layer, from the input up, the parameters of its directions as JAX arrays.

    Raises:
      TypeError: when `params` belong to another cell.
      ValueError: when their shapes do not match, or the library does not support them.

    >>> import lstm_jax as lj
    >>> split_layers("keras.from_params", lj.GRU(3, 5).init(jax.random.key(0)))
    Traceback (most recent call last):
    TypeError: keras.from_params: params must be LSTMParams, ProjectedLSTMParams, Directions of\
 these, or a tuple of layers; got GRUParams
    """
    layers = [_split_layer(function, layer) for layer in (params if is_stack(params) else [params])]
    join_layers(function, layers, stack=True)  # checks that the layers match
    single = [params for layer in layers for params in layer]
    library = function.split(".")[0]
    if not projection and any(isinstance(params, ProjectedLSTMParams) for params in single):
        raise ValueError(f"{function}: {library} has no projection; got ProjectedLSTMParams")
    if not directions and len(single) > len(layers):
        raise ValueError(
            f"{function}: {library} has no bidirectional layer; convert forward and backward"
            " separately"
        )
    shapes = {(len(layer), params.recurrent_kernel.shape) for layer in layers for params in layer}
    if uniform and len(shapes) > 1:
        raise ValueError(
            f"{function}: {library} needs the same units and directions in all layers; got units"
            f" {', then '.join(_describe_units(layer) for layer in layers)}"
        )
    if not bias:
        for params in single:
            if (largest := float(jnp.max(jnp.abs(params.bias)))) != 0:
                raise ValueError(
                    f"{function}: bias=False needs biases of zero; got values up to {largest:.3g}"
                )
    return layers


def like_params(params: PyTree, layers: list[Any]) -> Any:
    """Return converted layers as a list if `params` are a stack, otherwise the only one.

    >>> like_params((LSTMParams(1, 2, 3),), ["layer"]), like_params(LSTMParams(1, 2, 3), ["layer"])
    (['layer'], 'layer')
    """
    return layers if is_stack(params) else layers[0]


def natural_order(names: Iterable[str]) -> list[str]:
    """Sort names of layers, with the numbers in them compared as numbers.

    >>> natural_order(["lstm_10", "lstm_2", "lstm"])
    ['lstm', 'lstm_2', 'lstm_10']
    """

    def sort_key(name: str) -> list[tuple[int, int, str]]:
        # Numbers sort before letters, and are never compared with them.
        return [
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in re.split(r"(\d+)", name)
            if part
        ]

    return sorted(names, key=sort_key)


def _describe_units(layer: Layer) -> str:
    units = []
    for params in layer:
        P, width = params.recurrent_kernel.shape
        projected = f" projected to {P}" if isinstance(params, ProjectedLSTMParams) else ""
        units.append(f"{width // 4}{projected}")
    return " and ".join(units)


def _split_layer(function: str, layer: PyTree) -> Layer:
    """Return the directions of one layer, with checked types and shapes."""
    directions = tuple(layer) if isinstance(layer, Directions) else (layer,)
    for params in directions:
        if not isinstance(params, LSTMParams | ProjectedLSTMParams):
            raise TypeError(
                f"{function}: params must be LSTMParams, ProjectedLSTMParams, Directions of these,"
                f" or a tuple of layers; got {type(params).__name__}"
            )
        H = P = axis_size(params.recurrent_kernel, 0)
        axes = AXES
        if isinstance(params, ProjectedLSTMParams):
            H = axis_size(params.projection, 0)
            axes = axes | {"recurrent_kernel": "[P, 4H]", "projection": "[H, P]"}
        for name, shape in axes.items():
            array = getattr(params, name)
            check_shape(function, name, array, shape, I=axis_size(params.kernel, 0), H=H, P=P)
    return jax.tree.map(jnp.asarray, directions)
