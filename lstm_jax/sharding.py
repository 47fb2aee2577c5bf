"""Arrays split over devices as others are, where JAX makes that part of their types."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec


def match_sharding(array: jax.Array, after: Any, axes: int | None = None) -> jax.Array:
    """The array split over devices as the leading axes of another are.

    A state of zeros, or a mask drawn at random, is whole on every device, and a batch that is split
    makes it split too; a scan wants its carry to start as it goes on, and a choice between arrays
    wants them all alike.

    Args:
      array: an array.
      after: type of an array with the axes of `array` and perhaps more.
      axes: how many axes they share; all of those of `array` when not given.

    Returns:
      The same numbers.

    >>> import jax.numpy as jnp
    >>> match_sharding(jnp.zeros(2), jax.typeof(jnp.ones((2, 3)))).tolist()
    [0.0, 0.0]
    """
    before = jax.typeof(array)
    # Inside of `shard_map`, an array varies over axes of the mesh, or is the same along them.
    varying, had = (
        getattr(getattr(each, "manual_axis_type", None), "varying", frozenset())
        for each in (after, before)
    )
    if varying - had:
        return jax.lax.pcast(array, tuple(varying - had), to="varying")
    # On a mesh with explicit axes, the partition is part of the type.
    wanted = after.sharding
    if isinstance(wanted, NamedSharding) and wanted.mesh.are_all_axes_explicit:
        shared = array.ndim if axes is None else axes
        wanted = NamedSharding(wanted.mesh, PartitionSpec(*wanted.spec[:shared]))
        return jax.sharding.reshard(array, wanted) if wanted != before.sharding else array
    return array


def alike(arrays: Sequence[Any]) -> list[Any]:
    """Arrays that inside of `shard_map` all vary over the same axes of the mesh, as any does.

    >>> import jax.numpy as jnp
    >>> [a.tolist() for a in alike([jnp.zeros(2), jnp.ones(1)])]
    [[0.0, 0.0], [1.0]]
    """
    found = list(arrays)
    for like in arrays:
        found = [match_sharding(array, jax.typeof(like), 0) for array in found]
    return found


def is_sharded(array: Any) -> bool:
    """Whether an array is split over a mesh with explicit axes, so that its type says so.

    >>> import jax.numpy as jnp
    >>> is_sharded(jnp.zeros(2))
    False
    """
    sharding = jax.typeof(array).sharding
    explicit = isinstance(sharding, NamedSharding) and not sharding.mesh.are_all_axes_auto
    return explicit and any(axis is not None for axis in sharding.spec)
