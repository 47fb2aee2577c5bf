"""Calls that stay split over devices along networks and rows, where XLA would gather everything."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lstm_jax.types import PyTree

SPLIT = "gb"
"""The axes along which the work of a call falls apart: networks, and rows of a batch."""


def names_devices(primitive: Any) -> None:
    """Have JAX say, when it compiles a primitive, which devices it is for; else it may not."""
    try:
        from jax._src.dispatch import prim_requires_devices_during_lowering as primitives
    except ImportError:  # then it is not split
        return
    primitives.add(primitive)


def over_devices(
    call: Callable[..., Sequence[jax.Array]], args: Sequence[str], outs: Sequence[str]
) -> Callable[..., Sequence[jax.Array]]:
    """A call whose arrays are named axis by axis, run on each device with its own part of them.

    Args:
      call: a function of arrays.
      args: a letter for each axis of each argument, such as ``"gtbi"``; `SPLIT` can be split.
      outs: the same for what it returns; one without ``b`` is a sum over rows.

    Returns:
      The same function.

    >>> import jax.numpy as jnp
    >>> double = over_devices(lambda x: (2 * x,), ["gtb"], ["gtb"])
    >>> double(jnp.ones((1, 2, 3)))[0].shape
    (1, 2, 3)
    """

    def partition(mesh: Any, arg_shapes: PyTree, result_shape: PyTree) -> Any:
        del result_shape
        axes = _axes(args, arg_shapes)
        summed = axes.get("b")

        def of_part(*arrays: jax.Array) -> tuple[jax.Array, ...]:
            results = call(*arrays)
            if summed is None:
                return tuple(results)
            return tuple(
                result if "b" in letters else jax.lax.psum(result, summed)
                for result, letters in zip(results, outs, strict=True)
            )

        return mesh, of_part, _shardings(mesh, outs, axes), _shardings(mesh, args, axes)

    def infer(mesh: Any, arg_shapes: PyTree, result_shape: PyTree) -> Any:
        del result_shape
        return _shardings(mesh, outs, _axes(args, arg_shapes))

    partitioned = custom_partitioning(lambda *arrays: tuple(call(*arrays)))
    # In the order in which they first appear, as the compiler wants them.
    whole = [letter for letter in dict.fromkeys("".join((*args, *outs))) if letter not in SPLIT]
    partitioned.def_partition(
        partition,
        infer_sharding_from_operands=infer,
        sharding_rule=f"{_spelled(args)} -> {_spelled(outs)}",
        need_replication_factors=tuple(whole),
    )
    return partitioned


def _spelled(arrays: Sequence[str]) -> str:
    return ", ".join(" ".join(letters) for letters in arrays)


def _axes(args: Sequence[str], shapes: Sequence[Any]) -> dict[str, Any]:
    """The axes of the mesh along which each letter is split, as the first array says."""
    spec = getattr(shapes[0].sharding, "spec", ())
    return {
        letter: axis
        for letter, axis in zip(args[0], spec, strict=False)
        if letter in SPLIT and axis is not None
    }


def _shardings(mesh: Mesh, arrays: Sequence[str], axes: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(NamedSharding(mesh, PartitionSpec(*map(axes.get, letters))) for letters in arrays)
