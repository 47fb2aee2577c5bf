"""A scan over chunks of steps; a gradient keeps only the carry before each chunk."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from lstm_jax.types import PyTree

Carry = TypeVar("Carry")
Out = TypeVar("Out")


def scan_chunks(
    run_chunk: Callable[[Carry, PyTree], tuple[Carry, Out]],
    carry: Carry,
    xs: PyTree,
    size: int,
    *,
    reverse: bool,
) -> tuple[Carry, Out]:
    """`run_chunk` over one chunk of `xs` after the other; a gradient computes each again.

    Where T is not a multiple of the size, the chunk at the end of time is shorter.

    Args:
      run_chunk: ``(carry, xs of the chunk) -> (carry, ys of the chunk)``.
      carry: the carry of the first chunk.
      xs: inputs, leaves ``[T, ...]``.
      size: steps of a chunk.
      reverse: from the last chunk to the first.

    Returns:
      ``(final carry, ys)``, ys with leaves ``[T, ...]``.

    Reference:
      Chen et al. (2016), *Training deep nets with sublinear memory cost*.

    >>> total, ys = scan_chunks(
    ...     lambda carry, xs: (carry + xs.sum(), 2 * xs), 0, jnp.arange(5), 2, reverse=False
    ... )
    >>> int(total), ys.tolist()
    (10, [0, 2, 4, 6, 8])
    """
    length = jax.tree.leaves(xs)[0].shape[0]
    count = length // size

    def slice_steps(start: Any, steps: int) -> PyTree:
        # Sliced where it is needed: to reshape all of xs into chunks would copy all of it.
        return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, steps), xs)

    def scan_full(carry: Carry) -> tuple[Carry, Out]:
        def chunk(carry: Carry, n: jax.Array) -> tuple[Carry, Out]:
            return run_chunk(carry, slice_steps(n * size, size))

        step = jax.checkpoint(chunk, prevent_cse=False)
        carry, ys = lax.scan(step, carry, jnp.arange(count), reverse=reverse)
        return carry, jax.tree.map(lambda a: a.reshape(count * size, *a.shape[2:]), ys)

    def run_last(carry: Carry) -> tuple[Carry, Out]:
        chunk = jax.checkpoint(
            lambda carry: run_chunk(carry, slice_steps(count * size, length - count * size))
        )
        return chunk(carry)

    if count * size == length:
        return scan_full(carry)
    if count == 0:
        return run_last(carry)
    if reverse:
        carry, last_ys = run_last(carry)
        carry, ys = scan_full(carry)
    else:
        carry, ys = scan_full(carry)
        carry, last_ys = run_last(carry)
    return carry, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), ys, last_ys)
