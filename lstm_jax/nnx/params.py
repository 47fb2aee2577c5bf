"""The parameters and the random key of a cell in an NNX module."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.variablelib import VariableMetadata

from lstm_jax.layers import MetadataInit, as_key, check_no_module
from lstm_jax.param_dict import ParamDict, check_param_names, from_dict, to_dict
from lstm_jax.transforms.sizes import param_shapes
from lstm_jax.transforms.transform import AnyCell, draws
from lstm_jax.transforms.wrap import check_is_cell
from lstm_jax.types import Initializer, PRNGKey, PyTree

Metadata = Mapping[str, Mapping[str, Any]]
"""Keyword arguments of `flax.nnx.Param` for parameters by their name."""

Randomness = nnx.Rngs | nnx.RngStream | jax.Array
"""Sources of a random key in Flax."""


class Constant(nnx.Variable):
    """A parameter of a cell that is not trained: no `flax.nnx.Param`."""


class CellModule(nnx.Module):
    """A cell and its parameters, which are attributes with the names of their fields.

    Args:
      cell: any cell.
      rngs: the parameters are drawn from its stream ``params``; a cell that draws random numbers
        keeps a fork of its stream ``dropout``.
      deterministic: whether no random numbers are drawn; `eval`, `train` and `flax.nnx.view` of
        Flax set it.
      metadata: keyword arguments of `flax.nnx.Param` for parameters by their name.

    Raises:
      TypeError: when `cell` is not a cell.
      ValueError: when metadata has the name of no parameter, or a parameter that of an attribute.

    Attributes:
      constants: the names of the parameters that are not trained.
    """

    constants: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        cell: AnyCell,
        *,
        rngs: nnx.Rngs,
        deterministic: bool = False,
        metadata: Metadata | None = None,
    ) -> None:
        function = type(self).__name__
        check_no_module(function, cell)
        check_is_cell(function, cell)
        self.cell = cell
        self.deterministic = deterministic
        self.rngs: Any = nnx.data(None)
        # Parameters first, so that they are the same with dropout and without.
        drawn = cell.init(as_key(rngs.params()))  # pyright: ignore[reportArgumentType]
        check_param_names(function, "metadata", metadata or {}, drawn)
        named = to_dict(drawn)
        _check_attribute_names(function, cell, {*vars(self), *dir(type(self))}, named)
        for name, value in named.items():
            kind = Constant if name in self.constants else nnx.Param
            setattr(self, name, _as_variables(name, value, metadata or {}, kind))
        if draws(cell):
            self.rngs = rngs["dropout"].fork()

    def set_view(self, deterministic: bool | None = None) -> None:
        """Set `deterministic`; `flax.nnx.view` calls this.

        Args:
          deterministic: whether no random numbers are drawn; None for no change.

        >>> import lstm_jax as lj
        >>> module = CellModule(lj.LSTM(3, 5), rngs=nnx.Rngs(0))
        >>> nnx.view(module, deterministic=True).deterministic, module.deterministic
        (True, False)
        """
        if deterministic is not None:
            self.deterministic = deterministic

    @property
    def params(self) -> PyTree:
        """The parameters for the cell, such as `LSTMParams`."""
        like = param_shapes(self.cell)
        return from_dict(type(self).__name__, like, _as_arrays(self, to_dict(like)))

    def set_params(self, params: PyTree) -> None:
        """Replace the parameters, also those of an abstract module of `flax.nnx.eval_shape`.

        Args:
          params: what the cell's `init` draws, or `lstm_jax.convert` returns; cast to the dtypes of
            the parameters of the module.

        Raises:
          ValueError: when they are not parameters of this cell.

        >>> import lstm_jax as lj
        >>> module = CellModule(lj.LSTM(3, 5), rngs=nnx.Rngs(0))
        >>> module.set_params(lj.LSTM(3, 5).init(jax.random.key(1)))
        >>> module.set_params(lj.LSTM(3, 6).init(jax.random.key(1)))
        Traceback (most recent call last):
        ValueError: CellModule: kernel must have shape (3, 20); got (3, 24)
        """
        named = to_dict(params)
        from_dict(type(self).__name__, param_shapes(self.cell), named)
        for name, value in named.items():
            _set(getattr(self, name), value)


def dropout_key(
    module: CellModule, deterministic: bool | None, rngs: Randomness | None
) -> PRNGKey | None:
    """The random key of a call; None if the cell draws nothing, or if it is deterministic.

    Args:
      module: the module, during its call.
      deterministic: overrides the attribute of the module if not None.
      rngs: source of random numbers in place of the module's own stream. A stream for carries is
        ignored: `flax.nnx.Bidirectional` passes one, which does not depend on the seed.

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


def _check_attribute_names(function: str, cell: AnyCell, taken: set[str], named: ParamDict) -> None:
    """Raise if the name of a parameter is that of an attribute."""
    for name, value in named.items():
        if name in taken:
            raise ValueError(
                f"{function}: a parameter of {cell} has the name of an attribute of the layer,"
                f" {name!r}; rename it"
            )
        if isinstance(value, dict):
            _check_attribute_names(function, cell, set(dir(nnx.Dict)), value)


def _as_variables(name: str, value: Any, metadata: Metadata, kind: type[nnx.Variable]) -> Any:
    if isinstance(value, dict):
        return nnx.Dict({k: _as_variables(k, inner, metadata, kind) for k, inner in value.items()})
    return kind(value, **metadata.get(name, {}))


def _as_arrays(module: Any, names: ParamDict) -> ParamDict:
    """The arrays of a module and its dicts. No method, as `flax.nnx.tabulate` would count it."""
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
        variable[...] = value  # keeps the sharding of the old one
    else:
        variable.set_value(value)


def plain_inits(inits: Mapping[str, Initializer | None]) -> dict[str, MetadataInit]:
    """Initializers that return plain arrays, from those of `flax.nnx.with_partitioning` or others.

    Args:
      inits: initializers by the name of the parameter; None for the default of the cell.

    Returns:
      Those that are not None.
    """
    return {
        name: MetadataInit(init, _split_metadata)
        for name, init in inits.items()
        if init is not None
    }


def metadata_of(cell: AnyCell, inits: Mapping[str, MetadataInit]) -> dict[str, dict[str, Any]]:
    """The metadata that initializers return with the parameters of a cell.

    Args:
      cell: the cell, which has these initializers.
      inits: the initializers by the name of the parameter.

    Returns:
      Keyword arguments of `flax.nnx.Param` by the name of the parameter.

    >>> import lstm_jax as lj
    >>> init = nnx.with_partitioning(nnx.initializers.lecun_normal(), (None, "model"))
    >>> inits = plain_inits({"kernel": init, "bias": None})
    >>> metadata_of(lj.LSTM(3, 5, kernel_init=inits["kernel"]), inits)
    {'kernel': {'out_sharding': (None, 'model')}}
    """
    if inits:
        # A new function, which `eval_shape` cannot have cached: every initializer is called.
        jax.eval_shape(lambda key: cell.init(key), jax.random.key(0))
    return {name: init.metadata for name, init in inits.items() if init.metadata is not None}


def joined_metadata(
    cell: AnyCell, inits: Mapping[str, MetadataInit], *given: Mapping[str, Mapping[str, Any] | None]
) -> dict[str, dict[str, Any]]:
    """The metadata that initializers return, and what is given by the names of parameters.

    Args:
      cell: the cell, which has these initializers.
      inits: the initializers by the name of the parameter.
      *given: keyword arguments of `flax.nnx.Param` by the name of the parameter; the last one
        precedes.

    Returns:
      Keyword arguments of `flax.nnx.Param` by the name of the parameter.

    >>> import lstm_jax as lj
    >>> joined_metadata(lj.LSTM(3, 5), {}, {"bias": {"a": 1}}, {"bias": {"b": 2}})
    {'bias': {'a': 1, 'b': 2}}
    """
    metadata = metadata_of(cell, inits)
    for name, more in (pair for each in given for pair in each.items()):
        metadata[name] = {**metadata.get(name, {}), **(more or {})}
    return metadata


def _split_metadata(value: Any) -> tuple[jax.Array, dict[str, Any] | None]:
    """The array in a value, and its metadata; None for a plain array."""
    if not isinstance(value, VariableMetadata):
        return value, None
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    array, metadata = fields.pop("raw_value"), fields.pop("metadata")
    hooks = {name: hook for name, hook in fields.items() if hook}
    return array, hooks | {name: each for name, each in metadata.items() if each is not None}
