"""A cell's parameters and random key as a linen module has them."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lstm_jax.layers import Unboxed, as_key
from lstm_jax.param_dict import ParamDict, check_param_names, from_dict, to_dict
from lstm_jax.transforms.transform import AnyCell, draws, param_shapes
from lstm_jax.types import Initializer, PRNGKey, PyTree

Boxes = dict[str, Callable[[Any], Any]]
"""By the name of a parameter, what puts it into a box with metadata."""


def variables(params: PyTree) -> dict[str, ParamDict]:
    """A cell's parameters as the variables of a layer around it.

    Args:
      params: what the cell's `init` draws, or `lstm_jax.convert` gives.

    Returns:
      ``{"params": ...}``, for ``layer.apply``; in a model, what belongs under the layer's name.

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
      variables: ``{"params": ...}``, or what is in it.

    Returns:
      Parameters as the cell's `init` draws them, without metadata.

    Raises:
      ValueError: when they are not those of such a cell.

    >>> import lstm_jax as lj
    >>> from lstm_jax.linen import LSTM
    >>> variables = LSTM(5).init(jax.random.key(0), jnp.ones((2, 7, 3)))
    >>> params_of(lj.LSTM(3, 5), variables).bias.shape
    (20,)
    """
    inner = variables.get("params")
    named = inner if isinstance(inner, Mapping) else variables
    return from_dict("params_of", param_shapes(cell), nn.meta.unbox(named))


def declared(module: nn.Module, cell: AnyCell, boxes: Boxes) -> PyTree:
    """The cell's parameters, as parameters of the module with the names of their fields.

    Args:
      module: the module, in its call.
      cell: the cell.
      boxes: what metadata they come in.

    Returns:
      Parameters as the cell takes them.

    Raises:
      ValueError: when a box is for no parameter.
    """
    like = param_shapes(cell)
    named = to_dict(like)
    check_param_names(type(module).__name__, "partitioning", boxes, like)
    missing = any(not module.has_variable("params", name) for name in named)
    drawn: ParamDict | None = None
    if missing and module.is_mutable_collection("params"):
        # All of them from one key, so that they are what the cell draws.
        drawn = to_dict(cell.init(as_key(module.make_rng("params"))))  # pyright: ignore[reportArgumentType]

    def value(name: str) -> Any:
        # Of what is there already Flax asks for the shapes alone, and makes no zeros.
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), named[name])
        return _boxed(name, zeros if drawn is None else drawn[name], boxes)

    own = {name: module.param(name, lambda _, name=name: value(name)) for name in named}
    return from_dict(type(module).__name__, like, own)


def key_of(module: Any, cell: AnyCell, deterministic: bool | None) -> PRNGKey | None:
    """The key to draw from in this call: None where the cell draws nothing, or should not.

    Raises:
      ValueError: when it is not said whether the cell should, or said twice.
    """
    if not draws(cell) or nn.merge_param("deterministic", module.deterministic, deterministic):
        return None
    return as_key(module.make_rng("dropout"))


def partitioned(axes: Mapping[str, tuple[str | None, ...]] | None) -> Boxes:
    """Boxes that name the axes of parameters.

    >>> partitioned({"bias": ("model",)})["bias"](jnp.ones(4)).names
    ('model',)
    """
    return {
        name: lambda value, names=tuple(names): nn.Partitioned(value, names)
        for name, names in (axes or {}).items()
    }


def unboxed(inits: Mapping[str, Initializer | None]) -> tuple[dict[str, Unboxed], Boxes]:
    """Initializers that give arrays, from such as may give them in boxes.

    Args:
      inits: by the name of a parameter; None where the cell's own is to be taken.

    Returns:
      Those that are given, and what puts a parameter into the box that its value came in.

    >>> init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
    >>> inits, boxes = unboxed({"kernel": init, "bias": None})
    >>> inits["kernel"](jax.random.key(0), (3, 20)).shape, boxes["kernel"](jnp.ones((3, 20))).names
    ((3, 20), (None, 'model'))
    """
    plain = {name: Unboxed(init, _opened) for name, init in inits.items() if init is not None}
    return plain, {name: functools.partial(_again, init) for name, init in plain.items()}


def _opened(value: Any) -> tuple[jax.Array, Any]:
    """The array in a value, and its box without it."""
    if not isinstance(value, nn.meta.AxisMetadata):
        return value, None
    # Not by unbox, which may split it over devices: it may be a part, and the box is for the whole.
    (array,) = jax.tree.leaves(value)
    return array, value.replace_boxed(None)


def _again(init: Unboxed, value: jax.Array) -> Any:
    """A parameter in the box that the last value of its initializer came in."""
    return value if init.box is None else init.box.replace_boxed(value)


def _boxed(name: str, value: Any, boxes: Boxes) -> Any:
    """A parameter, or a dict of them, in the boxes that go with their names."""
    if isinstance(value, dict):
        return {name: _boxed(name, inner, boxes) for name, inner in value.items()}
    return boxes[name](value) if name in boxes else value
