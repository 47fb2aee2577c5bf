"""A cell's parameters and random key as an NNX module has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.variablelib import VariableMetadata

from lstm_jax.layers import LEAST, as_key, param_shapes
from lstm_jax.named import Named, from_named, to_named
from lstm_jax.transforms.transform import AnyCell, check_cell, draws
from lstm_jax.types import DType, PRNGKey, PyTree

Metadata = Mapping[str, Mapping[str, Any]]
"""By the name of a parameter, what its `flax.nnx.Param` says of it."""

Randomness = nnx.Rngs | nnx.RngStream | jax.Array
"""What Flax takes a key from."""


class CellModule(nnx.Module):
    """A cell and its parameters, which are attributes with the names of their fields.

    Args:
      cell: any cell.
      rngs: draws the parameters from ``params``, and keeps a stream ``dropout`` for a cell that
        draws random numbers.
      deterministic: whether nothing random is drawn; `eval` and `train` of Flax set it.
      metadata: by the name of a parameter, keywords for its `flax.nnx.Param`.
    """

    def __init__(
        self,
        cell: AnyCell,
        *,
        rngs: nnx.Rngs,
        deterministic: bool = False,
        metadata: Metadata | None = None,
    ) -> None:
        check_cell(type(self).__name__, cell)
        self.cell = cell
        self.deterministic = deterministic
        # Parameters first: they are the same with dropout and without.
        drawn = to_named(cell.init(as_key(rngs.params())))  # pyright: ignore[reportArgumentType]
        for name, value in drawn.items():
            if hasattr(self, name):
                raise ValueError(
                    f"{type(self).__name__}: a parameter of {cell} is called {name!r}, as is an"
                    " attribute of the layer; call it otherwise"
                )
            setattr(self, name, _as_variables(name, value, metadata or {}))
        self.rngs: Any = rngs["dropout"].fork() if draws(cell) else nnx.data(None)

    @property
    def params(self) -> PyTree:
        """The parameters as the cell takes them, such as `LSTMParams`."""
        like = param_shapes(self.cell)
        return from_named(type(self).__name__, like, _as_arrays(self, to_named(like)))

    def set_params(self, params: PyTree) -> None:
        """Take parameters, in place of those that were drawn.

        Args:
          params: what the cell's `init` draws, or `lstm_jax.convert` gives.

        Raises:
          ValueError: when they are not those of such a cell.

        >>> import lstm_jax as lj
        >>> module = CellModule(lj.LSTM(3, 5), rngs=nnx.Rngs(0))
        >>> module.set_params(lj.LSTM(3, 5).init(jax.random.key(1)))
        >>> module.set_params(lj.LSTM(3, 6).init(jax.random.key(1)))
        Traceback (most recent call last):
        ValueError: CellModule: kernel must have shape (3, 20); got (3, 24)
        """
        named = to_named(params)
        from_named(type(self).__name__, param_shapes(self.cell), named)
        for name, value in named.items():
            _set(getattr(self, name), value)


def key_of(
    module: CellModule, deterministic: bool | None, rngs: Randomness | None
) -> PRNGKey | None:
    """The key to draw from in a call: None where the cell draws nothing, or should not.

    Args:
      module: the module, in its call.
      deterministic: whether it should not; None for what the module says.
      rngs: what to draw from, in place of the module's own stream.

    Returns:
      A typed key, or None.
    """
    if deterministic is None:
        deterministic = module.deterministic
    if deterministic or not draws(module.cell):
        return None
    source: Any = module.rngs if rngs is None else rngs
    if isinstance(source, nnx.Rngs):
        source = source["dropout"]
    return as_key(source if isinstance(source, jax.Array) else source())


def _as_variables(name: str, value: Any, metadata: Metadata) -> Any:
    if isinstance(value, dict):
        return nnx.Dict({k: _as_variables(k, inner, metadata) for k, inner in value.items()})
    return nnx.Param(value, **metadata.get(name, {}))


def _as_arrays(module: Any, names: Named) -> Named:
    """The arrays of a module and its dicts, by no method that `flax.nnx.tabulate` would count."""
    return {
        name: _as_arrays(getattr(module, name), inner)
        if isinstance(inner, dict)
        else getattr(module, name)[...]
        for name, inner in names.items()
    }


def _set(variable: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _set(getattr(variable, name), inner)
    else:
        variable[...] = value


def without_metadata(inits: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Initializers that give arrays, from such as come from `flax.nnx.with_partitioning`.

    A cell puts its parameters together from arrays, so that what is said of them has to wait.

    Args:
      inits: by the name of a parameter; None where the cell's own is to be taken.

    Returns:
      The initializers, and the metadata of those that have some.

    >>> init = nnx.with_partitioning(nnx.initializers.lecun_normal(), (None, "model"))
    >>> inits, metadata = without_metadata({"kernel": init, "bias": None})
    >>> inits["kernel"](jax.random.key(0), (3, 20)).shape, metadata["kernel"]["out_sharding"]
    ((3, 20), (None, 'model'))
    """
    plain: dict[str, Any] = dict(inits)
    metadata: dict[str, dict[str, Any]] = {}
    for name, init in inits.items():
        if init is None:
            continue
        least = init(jax.random.key(0), LEAST[name], jnp.float32)
        if isinstance(least, VariableMetadata):
            plain[name] = _Plain(init)
            metadata[name] = {k: v for k, v in least.metadata.items() if v is not None}
    return plain, metadata


@dataclass(frozen=True)
class _Plain:
    """An initializer without metadata; equal where the initializers are, as cells must be."""

    init: Any

    def __call__(self, key: PRNGKey, shape: Any, dtype: DType = jnp.float32) -> jax.Array:
        return self.init(key, shape, dtype).raw_value
