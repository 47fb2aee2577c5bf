"""The parameters and the random key of a cell in a linen module."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lstm_jax.layers import MetadataInit, as_key
from lstm_jax.param_dict import ParamDict, check_param_names, from_dict, to_dict
from lstm_jax.transforms.sizes import param_shapes
from lstm_jax.transforms.transform import AnyCell, draws
from lstm_jax.types import Initializer, PRNGKey, PyTree

Boxes = dict[str, Callable[[Any], Any]]
"""For parameters by their name, the function that puts one into a box with metadata."""


def variables(params: PyTree) -> dict[str, ParamDict]:
    """A cell's parameters as the variables of a layer around it.

    Args:
      params: what the cell's `init` draws, or `lstm_jax.convert` returns.

    Returns:
      ``{"params": ...}``, for ``layer.apply``; in a model, put its contents under the layer's name.

    >>> import lstm_jax as lj
    >>> from lstm_jax.linen import Recurrent
    >>> cell = lj.LSTM(3, 5)
    >>> params, inputs = cell.init(jax.random.key(0)), jnp.ones((2, 7, 3))
    >>> Recurrent(cell).apply(variables(params), inputs).shape
    (2, 7, 5)
    """
    return {"params": to_dict(params)}


def params_of(cell: AnyCell, variables: Mapping[str, Any]) -> PyTree:
    """The cell's parameters from the variables of a layer around it: the inverse of `variables`.

    Args:
      cell: the cell.
      variables: ``{"params": ...}``, or its contents.

    Returns:
      Parameters as the cell's `init` draws them, without metadata.

    Raises:
      ValueError: when they are not parameters of this cell.

    >>> import lstm_jax as lj
    >>> from lstm_jax.linen import LSTM
    >>> variables = LSTM(5).init(jax.random.key(0), jnp.ones((2, 7, 3)))
    >>> params_of(lj.LSTM(3, 5), variables).bias.shape
    (20,)
    """
    inner = variables.get("params")
    named = inner if isinstance(inner, Mapping) else variables
    return from_dict("params_of", param_shapes(cell), nn.meta.unbox(named))


def module_params(
    module: nn.Module,
    cell: AnyCell,
    boxes: Boxes,
    fixed: Mapping[str, jax.Array] = MappingProxyType({}),
) -> PyTree:
    """Create or read the parameters of a cell in a module, with the names of their fields.

    Args:
      module: the module, during its call.
      cell: the cell.
      boxes: boxes for some of the parameters.
      fixed: constants in place of some parameters, which the module then does not have.

    Returns:
      Parameters for the cell.

    Raises:
      ValueError: when a box has the name of no parameter.
    """
    like = param_shapes(cell)
    named = to_dict(like)
    check_param_names(type(module).__name__, "partitioning", boxes, like)
    missing = any(not module.has_variable("params", name) for name in named.keys() - fixed.keys())
    drawn: ParamDict | None = None
    if missing and module.is_mutable_collection("params"):
        # All of them from one key: the same that `cell.init` draws.
        drawn = to_dict(cell.init(as_key(module.make_rng("params"))))  # pyright: ignore[reportArgumentType]

    def value(name: str) -> Any:
        # Of existing parameters Flax reads only the shapes: the zeros are never computed.
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), named[name])
        return _in_boxes(name, zeros if drawn is None else drawn[name], boxes)

    own = {
        name: module.param(name, lambda _, name=name: value(name))
        for name in named
        if name not in fixed
    }
    return from_dict(type(module).__name__, like, {**own, **fixed})


def dropout_key(module: Any, cell: AnyCell, deterministic: bool | None) -> PRNGKey | None:
    """The random key of this call; None if the cell draws nothing, or if it is deterministic.

    Raises:
      ValueError: when `deterministic` is given neither as a field nor in the call, or in both.
    """
    if not draws(cell) or nn.merge_param("deterministic", module.deterministic, deterministic):
        return None
    return as_key(module.make_rng("dropout"))


def partition_boxes(axes: Mapping[str, tuple[str | None, ...]] | None) -> Boxes:
    """Boxes with the names of axes, from the field `partitioning`.

    >>> partition_boxes({"bias": ("model",)})["bias"](jnp.ones(4)).names
    ('model',)
    """
    return {
        name: lambda value, names=tuple(names): nn.Partitioned(value, names)
        for name, names in (axes or {}).items()
    }


def plain_inits(inits: Mapping[str, Initializer | None]) -> tuple[dict[str, MetadataInit], Boxes]:
    """Initializers that return plain arrays, from those that may return boxes.

    Args:
      inits: initializers by the name of the parameter; None for the default of the cell.

    Returns:
      Those that are not None, and the boxes of what they draw.

    >>> init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
    >>> inits, boxes = plain_inits({"kernel": init, "bias": None})
    >>> inits["kernel"](jax.random.key(0), (3, 20)).shape, boxes["kernel"](jnp.ones((3, 20))).names
    ((3, 20), (None, 'model'))
    """
    plain = {
        name: MetadataInit(init, _split_box) for name, init in inits.items() if init is not None
    }
    return plain, {name: functools.partial(_rebox, init) for name, init in plain.items()}


def _split_box(value: Any) -> tuple[jax.Array, Any]:
    """The array in a box, and the empty box; None for no box."""
    if not isinstance(value, nn.meta.AxisMetadata):
        return value, None
    # Not by `unbox`, which may shard the array; it may be a part of what the box is for.
    (array,) = jax.tree.leaves(value)
    return array, value.replace_boxed(None)


def _rebox(init: MetadataInit, value: jax.Array) -> Any:
    """A parameter in the box of the array that its initializer drew last."""
    return value if init.metadata is None else init.metadata.replace_boxed(value)


def _in_boxes(name: str, value: Any, boxes: Boxes) -> Any:
    """A parameter, or a dict of them, in the boxes for their names."""
    if isinstance(value, dict):
        return {name: _in_boxes(name, inner, boxes) for name, inner in value.items()}
    return boxes[name](value) if name in boxes else value
