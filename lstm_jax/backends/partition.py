"""Native calls on arrays that are split over devices: each device computes its own part.

By itself XLA would gather the arrays and have every device compute everything.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lstm_jax.types import PyTree

SPLIT = "gb"
"""The axes along which a call can be split: networks ``g``, and rows of a batch ``b``."""


def over_devices(
    call: Callable[..., Sequence[jax.Array]], args: Sequence[str], outs: Sequence[str]
) -> Callable[..., Sequence[jax.Array]]:
    """A call that each device runs on its own part of the arrays.

    Args:
      call: a function of arrays.
      args: a letter for each axis of each argument, such as ``"gtbi"``; `SPLIT` can be split.
      outs: the same for each result; one without ``b`` is summed over rows.

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
    # The compiler needs them in the order in which they first appear.
    whole = [letter for letter in dict.fromkeys("".join((*args, *outs))) if letter not in SPLIT]
    partitioned.def_partition(
        partition,
        infer_sharding_from_operands=infer,
        sharding_rule=f"{_formatted(args)} -> {_formatted(outs)}",
        need_replication_factors=tuple(whole),
    )
    return partitioned


def _formatted(arrays: Sequence[str]) -> str:
    return ", ".join(" ".join(letters) for letters in arrays)


def _axes(args: Sequence[str], shapes: Sequence[Any]) -> dict[str, Any]:
    """The axes of the mesh along which each letter is split in the first array."""
    spec = getattr(shapes[0].sharding, "spec", ())
    return {
        letter: axis
        for letter, axis in zip(args[0], spec, strict=False)
        if letter in SPLIT and axis is not None
    }


def _shardings(mesh: Mesh, arrays: Sequence[str], axes: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(NamedSharding(mesh, PartitionSpec(*map(axes.get, letters))) for letters in arrays)
