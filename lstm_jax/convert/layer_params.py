"""Parameters by layer and direction: the form between our pytrees and other libraries.

Every library has its own way to assign weights to layers and directions. Converters translate it
to and from one form: a list of layers from the input up, each a tuple with the parameters of its
directions.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.bidirectional import Directions
from lstm_jax.convert import families
from lstm_jax.convert.checks import check_shape
from lstm_jax.convert.families import Family, Params, family_of, required_family
from lstm_jax.types import PyTree

Layer = tuple[Params, ...]
"""Parameters of one layer: one direction, or forward and backward."""


def join_layers(
    function: str,
    layers: Sequence[Layer],
    *,
    stack: bool,
    merges: Sequence[str | None] | None = None,
) -> PyTree:
    """Join layers into the parameters of their cell: the inverse of `split_layers`.

    Args:
      function: the public function to name in errors.
      layers: from the input up.
      stack: whether to return a tuple of layers, for `stack`, even when there is only one.
      merges: how each layer merges two directions, None if that is not known; all of them
        concatenate by default.

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
        inputs = [params.kernel.shape[-2] for params in layer]
        if len({*inputs}) > 1:
            raise ValueError(
                f"{function}: both directions must have the same input features; got {inputs}"
            )
    merges = ["concat"] * len(layers) if merges is None else merges
    pairs = zip(pairwise(layers), merges[:-1], strict=True)
    for k, ((lower, upper), merge) in enumerate(pairs, start=2):
        outputs = _output_sizes(lower, merge)
        if (got := upper[0].kernel.shape[-2]) not in outputs:
            raise ValueError(
                f"{function}: layer {k} must have {' or '.join(map(str, outputs))} input features,"
                f" the outputs of layer {k - 1}; got {got}"
            )
    each = tuple(Directions(*layer) if len(layer) == 2 else layer[0] for layer in layers)
    return each if stack else each[0]


def _output_sizes(layer: Layer, merge: str | None) -> list[int]:
    """Return the possible numbers of outputs of a layer."""
    sizes = [params.recurrent_kernel.shape[-2] for params in layer]
    by_merge = {"concat": [sum(sizes)], None: [*dict.fromkeys([sum(sizes), sizes[0]])]}
    return by_merge.get(merge, sizes[:1])


def is_stack(params: PyTree) -> bool:
    """Return whether parameters are a tuple of layers, not the NamedTuple of one layer.

    >>> is_stack(Directions(1, 2)), is_stack((Directions(1, 2),))
    (False, True)
    """
    return isinstance(params, tuple | list) and not hasattr(params, "_fields")


def split_layers(
    function: str,
    params: PyTree,
    *,
    supported: Sequence[Family] = families.FAMILIES,
    directions: bool = True,
    uniform: bool = False,
    bias: bool = True,
    merge: str | None = "concat",
) -> list[Layer]:
    """Split parameters into layers, and check that the other library supports them.

    Args:
      function: the public function to name in errors, which starts with the library's name.
      params: as for `cell_of`.
      supported: the families that the library has.
      directions: whether the library has bidirectional layers.
      uniform: whether the library needs equal families, directions and units in all layers.
      bias: whether biases may be nonzero.
      merge: how two directions are merged; None if that is not known.

    Returns:
      For each layer, from the input up, the parameters of its directions as JAX arrays.

    Raises:
      TypeError: when `params` belong to a cell of no family.
      ValueError: when their shapes do not match, or the library does not support them.

    >>> import lstm_jax as lj
    >>> split_layers("keras.from_params", lj.CoupledLSTM(3, 5).init(jax.random.key(0)))
    Traceback (most recent call last):
    TypeError: keras.from_params: params must be LSTMParams, ProjectedLSTMParams, GRUParams,\
 TanhRNNParams, Directions of these, or a tuple of layers; got CoupledLSTMParams
    """
    layers = [_split_layer(function, layer) for layer in (params if is_stack(params) else [params])]
    join_layers(function, layers, stack=True, merges=[merge] * len(layers))  # checks the sizes
    single = [params for layer in layers for params in layer]
    library = function.split(".")[0]
    for params in single:
        if (family := required_family(params)) not in supported:
            without = " without recurrent_bias" if family is families.GRU_RESET_BEFORE else ""
            raise ValueError(
                f"{function}: {library} has no {family.name}; got {family.params.__name__}{without}"
            )
    if not directions and len(single) > len(layers):
        raise ValueError(
            f"{function}: {library} has no bidirectional layer; convert forward and backward"
            " separately"
        )
    kinds = {(len(layer), *_kind(params)) for layer in layers for params in layer}
    if uniform and len(kinds) > 1:
        raise ValueError(
            f"{function}: {library} needs the same units and directions in all layers; got units"
            f" {', then '.join(_describe_units(layer) for layer in layers)}"
        )
    if not bias:
        for params in single:
            check_no_bias(function, params)
    return layers


def check_no_bias(function: str, params: Params) -> None:
    """Check that all biases are zero, for a layer of another library without any.

    >>> check_no_bias("keras.from_params", families.LSTM.params(1, 2, jnp.ones(4)))
    Traceback (most recent call last):
    ValueError: keras.from_params: bias=False needs biases of zero; got values up to 1
    """
    for name, array in params._asdict().items():
        if not name.endswith("bias") or array is None:
            continue
        if (largest := float(jnp.max(jnp.abs(array)))) != 0:
            raise ValueError(
                f"{function}: bias=False needs biases of zero; got values up to {largest:.3g}"
            )


def like_params(params: PyTree, layers: list[Any]) -> Any:
    """Return converted layers as a list if `params` are a stack, otherwise the only one.

    >>> like_params((Directions(1, 2),), ["layer"]), like_params(Directions(1, 2), ["layer"])
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


def _kind(params: Params) -> tuple[Any, ...]:
    return required_family(params), params.recurrent_kernel.shape


def _describe_units(layer: Layer) -> str:
    units = []
    for params in layer:
        family, (outputs, width) = _kind(params)
        projected = f" projected to {outputs}" if family is families.PROJECTED_LSTM else ""
        of = "" if family in (families.LSTM, families.PROJECTED_LSTM) else f" of a {family.name}"
        units.append(f"{width // len(family.gates)}{of}{projected}")
    return " and ".join(units)


def _split_layer(function: str, layer: PyTree) -> Layer:
    """Return the directions of one layer, with checked types and shapes."""
    directions = tuple(layer) if isinstance(layer, Directions) else (layer,)
    for params in directions:
        if (family := family_of(params)) is None:
            types = dict.fromkeys(family.params.__name__ for family in families.FAMILIES)
            raise TypeError(
                f"{function}: params must be {', '.join(types)}, Directions of these, or a tuple of"
                f" layers; got {type(params).__name__}"
            )
        sizes = family.sizes(params._asdict())
        for name, axes in family.axes.items():
            check_shape(function, name, getattr(params, name), axes, **sizes)
    return jax.tree.map(jnp.asarray, directions)
