"""A cell's parameters and random key as an NNX module has them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.variablelib import VariableMetadata

from lstm_jax.layers import Unboxed, as_key
from lstm_jax.named import Named, check_names, from_named, to_named
from lstm_jax.transforms.transform import AnyCell, draws, param_shapes
from lstm_jax.transforms.wrap import check_is_cell
from lstm_jax.types import Initializer, PRNGKey, PyTree

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
      deterministic: whether nothing random is drawn; `eval`, `train` and `flax.nnx.view` of Flax
        set it.
      metadata: by the name of a parameter, keywords for its `flax.nnx.Param`.

    Raises:
      TypeError: when `cell` is no cell.
      ValueError: when metadata are for no parameter, or a parameter is called as an attribute is.
    """

    def __init__(
        self,
        cell: AnyCell,
        *,
        rngs: nnx.Rngs,
        deterministic: bool = False,
        metadata: Metadata | None = None,
    ) -> None:
        function = type(self).__name__
        check_is_cell(function, cell)
        self.cell = cell
        self.deterministic = deterministic
        self.rngs: Any = nnx.data(None)
        # Parameters first: they are the same with dropout and without.
        drawn = cell.init(as_key(rngs.params()))  # pyright: ignore[reportArgumentType]
        check_names(function, "metadata", metadata or {}, drawn)
        named = to_named(drawn)
        _check_free(function, cell, {*vars(self), *dir(type(self))}, named)
        for name, value in named.items():
            setattr(self, name, _as_variables(name, value, metadata or {}))
        if draws(cell):
            self.rngs = rngs["dropout"].fork()

    def set_view(self, deterministic: bool | None = None) -> None:
        """What `flax.nnx.view` calls.

        Args:
          deterministic: whether nothing random is drawn; None for as it is.

        >>> import lstm_jax as lj
        >>> module = CellModule(lj.LSTM(3, 5), rngs=nnx.Rngs(0))
        >>> nnx.view(module, deterministic=True).deterministic, module.deterministic
        (True, False)
        """
        if deterministic is not None:
            self.deterministic = deterministic

    @property
    def params(self) -> PyTree:
        """The parameters as the cell takes them, such as `LSTMParams`."""
        like = param_shapes(self.cell)
        return from_named(type(self).__name__, like, _as_arrays(self, to_named(like)))

    def set_params(self, params: PyTree) -> None:
        """Take parameters, in place of those that were drawn.

        Args:
          params: what the cell's `init` draws, or `lstm_jax.convert` gives; cast to the dtypes of
            the module's. It may be an abstract one, of `flax.nnx.eval_shape`.

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
      rngs: what to draw from, in place of the module's own stream; not where it is a stream for
        carries, which `flax.nnx.Bidirectional` gives, the same one whatever was seeded.

    Returns:
      A typed key, or None.
    """
    if deterministic is None:
        deterministic = module.deterministic
    if deterministic or not draws(module.cell):
        return None
    for_carries = isinstance(rngs, nnx.RngStream) and rngs.tag == "carry"
    source: Any = module.rngs if rngs is None or for_carries else rngs
    if isinstance(source, nnx.Rngs):
        source = source["dropout"]
    return as_key(source if isinstance(source, jax.Array) else source())


def _check_free(function: str, cell: AnyCell, taken: set[str], named: Named) -> None:
    """Raise unless the names of parameters are free to be attributes."""
    for name, value in named.items():
        if name in taken:
            raise ValueError(
                f"{function}: a parameter of {cell} is called {name!r}, as is an attribute of the"
                " layer; call it otherwise"
            )
        if isinstance(value, dict):
            _check_free(function, cell, set(dir(nnx.Dict)), value)


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
        return
    old = variable.get_raw_value()
    value = jnp.asarray(value, old.dtype)
    if isinstance(old, jax.Array):
        variable[...] = value  # split over devices as the old one is
    else:
        variable.set_value(value)


def unboxed(inits: Mapping[str, Initializer | None]) -> dict[str, Unboxed]:
    """Initializers that give arrays, from such as may come from `flax.nnx.with_partitioning`.

    Args:
      inits: by the name of a parameter; None where the cell's own is to be taken.

    Returns:
      Those that are given.
    """
    return {name: Unboxed(init, _opened) for name, init in inits.items() if init is not None}


def metadata_of(cell: AnyCell, inits: Mapping[str, Unboxed]) -> dict[str, dict[str, Any]]:
    """What initializers say of the parameters that a cell draws with them.

    Args:
      cell: the cell, which has the initializers.
      inits: by the name of a parameter.

    Returns:
      By the name of a parameter, keywords for its `flax.nnx.Param`.

    >>> import lstm_jax as lj
    >>> init = nnx.with_partitioning(nnx.initializers.lecun_normal(), (None, "model"))
    >>> inits = unboxed({"kernel": init, "bias": None})
    >>> metadata_of(lj.LSTM(3, 5, kernel_init=inits["kernel"]), inits)
    {'kernel': {'out_sharding': (None, 'model')}}
    """
    if inits:
        jax.eval_shape(lambda key: cell.init(key), jax.random.key(0))  # anew, so all are called
    return {name: init.box for name, init in inits.items() if init.box is not None}


def _opened(value: Any) -> tuple[jax.Array, dict[str, Any] | None]:
    """The array in a value, and what is said of it."""
    if not isinstance(value, VariableMetadata):
        return value, None
    said = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    array, metadata = said.pop("raw_value"), said.pop("metadata")
    hooks = {name: given for name, given in said.items() if given}
    return array, hooks | {name: given for name, given in metadata.items() if given is not None}
