"""Sharding of arrays over devices, where JAX makes it a part of an array's type.

It does so for arrays on a mesh with explicit axes, and inside `jax.shard_map`, where an array
varies over some axes of the mesh and is the same along the others.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from lstm_jax.types import PyTree


def match_sharding(array: jax.Array, like: Any, axes: int | None = None) -> jax.Array:
    """The array sharded as the leading axes of another are.

    An array of zeros, or a mask drawn at random, is replicated on every device. The carry of a scan
    must start with the sharding that the step returns, and `jnp.where` needs arguments sharded
    alike.

    Args:
      array: an array.
      like: type of an array with the axes of `array` and perhaps more.
      axes: how many axes they share; all of those of `array` when not given.

    Returns:
      The same numbers.

    >>> match_sharding(jnp.zeros(2), jax.typeof(jnp.ones((2, 3)))).tolist()
    [0.0, 0.0]
    """
    current = jax.typeof(array)
    missing = _varying_axes(like) - _varying_axes(current)
    if missing:
        return jax.lax.pcast(array, tuple(missing), to="varying")
    wanted = like.sharding
    if isinstance(wanted, NamedSharding) and wanted.mesh.are_all_axes_explicit:
        shared = array.ndim if axes is None else axes
        wanted = NamedSharding(wanted.mesh, PartitionSpec(*wanted.spec[:shared]))
        return jax.sharding.reshard(array, wanted) if wanted != current.sharding else array
    return array


def match_types(tree: PyTree, like: PyTree) -> PyTree:
    """Arrays with the dtypes and the sharding of types, in the structure of these.

    Args:
      tree: arrays.
      like: as many types, such as `jax.eval_shape` returns.

    Returns:
      The numbers of `tree` in the structure of `like`.

    >>> match_types((1.0,), [jax.typeof(jnp.ones(()))])[0].dtype
    dtype('float32')
    """
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(like), strict=True)
    leaves = [match_sharding(jnp.asarray(a, of.dtype), of) for a, of in pairs]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def match_varying_axes(arrays: Iterable[Any]) -> list[Any]:
    """Arrays that inside of `jax.shard_map` all vary over the axes over which any of them does.

    >>> [a.tolist() for a in match_varying_axes([jnp.zeros(2), jnp.ones(1)])]
    [[0.0, 0.0], [1.0]]
    """
    arrays = list(arrays)
    varying = [_varying_axes(jax.typeof(array)) for array in arrays]
    every = frozenset[str]().union(*varying)
    return [
        jax.lax.pcast(array, tuple(every - own), to="varying") if every - own else array
        for array, own in zip(arrays, varying, strict=True)
    ]


def is_sharded(array: Any) -> bool:
    """Whether an array is partitioned over a mesh with explicit axes, which its type includes.

    >>> is_sharded(jnp.zeros(2))
    False
    """
    sharding = jax.typeof(array).sharding
    explicit = isinstance(sharding, NamedSharding) and not sharding.mesh.are_all_axes_auto
    return explicit and any(axis is not None for axis in sharding.spec)


def _varying_axes(array_type: Any) -> frozenset[str]:
    """The axes of the mesh over which an array varies inside of `jax.shard_map`."""
    return getattr(getattr(array_type, "manual_axis_type", None), "varying", frozenset())
