"""The parameters and the random key of a cell in a Haiku module."""

from collections.abc import Mapping
from typing import Any

import haiku as hk
import jax

from lstm_jax.did_you_mean import did_you_mean
from lstm_jax.layers import as_key
from lstm_jax.param_dict import flatten, from_dict, to_dict
from lstm_jax.transforms.sizes import param_shapes
from lstm_jax.transforms.transform import AnyCell, draws
from lstm_jax.types import DType, PRNGKey, PyTree


def haiku_params(params: PyTree, name: str) -> dict[str, dict[str, jax.Array]]:
    """A cell's parameters as those of a Haiku module around it.

    Args:
      params: what the cell's `init` draws, or `lstm_jax.convert` returns.
      name: the full name of the module, such as ``"recurrent"``.

    Returns:
      ``{name: {"kernel": ..., ...}}``. Inside of a transform the names are those of all levels,
      such as ``"layers_0/kernel"``. In a model, merge it with the other parameters.

    >>> import lstm_jax as lj
    >>> from lstm_jax.haiku import Recurrent
    >>> cell, xs = lj.LSTM(3, 5), jax.numpy.ones((7, 2, 3))
    >>> params = haiku_params(cell.init(jax.random.key(0)), "recurrent")
    >>> outputs, _ = hk.transform(lambda xs: Recurrent(cell)(xs)).apply(params, None, xs)
    >>> outputs.shape
    (7, 2, 5)
    """
    return {name: dict(flatten(to_dict(params)))}


def params_of(cell: AnyCell, params: Mapping[str, Mapping[str, Any]], name: str) -> PyTree:
    """The cell's parameters from those of a model: the inverse of `haiku_params`.

    Args:
      cell: the cell.
      params: the parameters of a model, by the names of its modules.
      name: the full name of the module around the cell.

    Returns:
      Parameters as the cell's `init` draws them.

    Raises:
      ValueError: when there is no such module, or its parameters are not those of this cell.

    >>> import lstm_jax as lj
    >>> from lstm_jax.haiku import Recurrent
    >>> cell, xs = lj.LSTM(3, 5), jax.numpy.ones((7, 2, 3))
    >>> params = hk.transform(lambda xs: Recurrent(cell)(xs)).init(jax.random.key(0), xs)
    >>> params_of(cell, params, "recurrent").bias.shape
    (20,)
    """
    if name not in params:
        hint = did_you_mean(name, params, quoted=True)
        raise ValueError(f"params_of: params have no module {name!r}{hint}")
    return from_dict("params_of", param_shapes(cell), params[name])


def module_params(cell: AnyCell, function: str) -> PyTree:
    """Create or read the parameters of a cell in the module that is called.

    Args:
      cell: the cell.
      function: the module to name in errors.

    Returns:
      Parameters for the cell.

    Raises:
      ValueError: when parameters are missing outside of the ``init`` of `hk.transform`, or they
        have other shapes.
    """
    like = param_shapes(cell)
    drawn: dict[str, jax.Array] = {}

    def read(name: str, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        def init(shape: Any, dtype: DType) -> jax.Array:
            del shape, dtype
            if not drawn:  # all of them from one key: the same that `cell.init` draws
                key = as_key(hk.next_rng_key())
                drawn.update(flatten(to_dict(cell.init(key))))  # pyright: ignore[reportArgumentType]
            return drawn[name]

        return hk.get_parameter(name, leaf.shape, leaf.dtype, init)

    return from_dict(function, like, {n: read(n, leaf) for n, leaf in flatten(to_dict(like))})


def step_key(cell: AnyCell, deterministic: bool) -> PRNGKey | None:
    """The random key of this call; None if the cell draws nothing, or if it is deterministic.

    Raises:
      ValueError: when it is needed, and ``apply`` was called without one.
    """
    return None if deterministic or not draws(cell) else as_key(hk.next_rng_key())
