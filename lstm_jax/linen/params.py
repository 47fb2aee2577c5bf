"""A cell's parameters and random key as a linen module has them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lstm_jax.layers import LEAST, as_key, param_shapes
from lstm_jax.named import Named, from_named, to_named
from lstm_jax.transforms.transform import AnyCell, draws
from lstm_jax.types import DType, Initializer, PRNGKey, PyTree

Boxes = dict[str, Callable[[Any], Any]]
"""By the name of a parameter, what puts it into a box with metadata."""


def variables(params: PyTree) -> dict[str, Named]:
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
    return {"params": to_named(params)}


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
    named = nn.meta.unbox(variables.get("params", variables))
    return from_named("params_of", param_shapes(cell), named)


def declared(module: nn.Module, cell: AnyCell, boxes: Boxes) -> PyTree:
    """The cell's parameters, as parameters of the module with the names of their fields.

    Args:
      module: the module, in its call.
      cell: the cell.
      boxes: what metadata they come in.

    Returns:
      Parameters as the cell takes them.
    """
    like = param_shapes(cell)
    named = to_named(like)
    missing = any(not module.has_variable("params", name) for name in named)
    if missing and module.is_mutable_collection("params"):
        # All of them from one key, so that they are what the cell draws.
        drawn = to_named(cell.init(as_key(module.make_rng("params"))))  # pyright: ignore[reportArgumentType]
    else:
        drawn = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), named)  # for their shapes alone
    boxed = _boxed(drawn, boxes)
    own = {name: module.param(name, lambda _, name=name: boxed[name]) for name in named}
    return from_named(type(module).__name__, like, own)


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


def unboxed(inits: Mapping[str, Initializer | None]) -> tuple[dict[str, Any], Boxes]:
    """Initializers that give arrays, from such as may give them in boxes.

    A cell puts its parameters together from arrays, so that the boxes have to wait.

    Args:
      inits: by the name of a parameter; None where the cell's own is to be taken.

    Returns:
      The initializers, and the boxes of those that have some.

    >>> init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
    >>> inits, boxes = unboxed({"kernel": init, "bias": None})
    >>> inits["kernel"](jax.random.key(0), (3, 20)).shape, boxes["kernel"](jnp.ones((3, 20))).names
    ((3, 20), (None, 'model'))
    """
    plain: dict[str, Any] = {}
    boxes: Boxes = {}
    for name, init in inits.items():
        plain[name] = init
        if init is None:
            continue
        box = jax.eval_shape(lambda init=init, name=name: init(jax.random.key(0), LEAST[name]))
        if isinstance(box, nn.meta.AxisMetadata):
            plain[name], boxes[name] = _Unboxed(init), box.replace_boxed
    return plain, boxes


@dataclass(frozen=True)
class _Unboxed:
    """An initializer without the box; equal where the initializers are, as cells must be."""

    init: Any

    def __call__(self, key: PRNGKey, shape: Any, dtype: DType = jnp.float32) -> jax.Array:
        return nn.meta.unbox(self.init(key, shape, dtype))


def _boxed(named: Named, boxes: Boxes) -> Named:
    """Every parameter in the box that goes with its name."""
    return {
        name: _boxed(value, boxes) if isinstance(value, dict) else boxes.get(name, _bare)(value)
        for name, value in named.items()
    }


def _bare(value: Any) -> Any:
    return value
