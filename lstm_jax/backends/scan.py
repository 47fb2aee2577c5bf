"""The plain scan over time: what every other way of running a cell is tested against."""

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from lstm_jax.types import PyTree

Carry = TypeVar("Carry")
Out = TypeVar("Out")

Remat = Literal["step"] | int | None
"""What a gradient keeps of a run: all (None), the state of every step, or of every k-th step."""


def scan(
    body: Callable[[PyTree, Carry, Any], tuple[Carry, Out]],
    operands: PyTree,
    xs: PyTree,
    carry: Carry,
    *,
    reverse: bool = False,
    unroll: int = 1,
    remat: Remat = None,
) -> tuple[Carry, Out]:
    """Run `body` over the leading axis of `xs`: ``s_t, y_t = body(operands, s_{t-1}, x_t)``.

    Args:
      body: one time step, ``(operands, carry, x) -> (carry, y)``.
      operands: what is the same at every step, such as parameters.
      xs: inputs, a pytree with leaves ``[T, ...]``.
      carry: what goes into the first step.
      reverse: run from the last step to the first; ``y_t`` stays in the order of the inputs.
      unroll: steps per iteration of the compiled loop.
      remat: what a gradient keeps, and what it computes again. ``"step"`` keeps the carry of every
        step; ``k`` keeps that of every k-th step, and while it works on a chunk of k steps, all of
        that chunk. Memory is least, and grows as sqrt(T), near ``k = sqrt(T)``. Where T is a symbol
        there are no chunks, and ``k`` is ``"step"``.

    Returns:
      ``(final carry, ys)``, ys with leaves ``[T, ...]``.

    Reference:
      Werbos (1990), *Backpropagation through time: what it does and how to do it*, which is what
      the gradient of this loop is; Chen et al. (2016), *Training deep nets with sublinear memory
      cost* (chunks of sqrt(T)).

    >>> add = lambda _, state, x: (state + x, state + x)
    >>> final, ys = scan(add, None, jnp.arange(4), 0)
    >>> ys.tolist()
    [0, 1, 3, 6]
    """

    def step(carry: Carry, x: Any) -> tuple[Carry, Out]:
        return body(operands, carry, x)

    loop = functools.partial(lax.scan, reverse=reverse, unroll=unroll)
    length = jax.tree.leaves(xs)[0].shape[0]
    if isinstance(remat, int) and not isinstance(length, int):
        remat = "step"
    match remat if length else None:
        case None:
            return loop(step, carry, xs)
        case "step":
            # Inside of a loop there is nothing to be merged with: no need to prevent it.
            return loop(jax.checkpoint(step, prevent_cse=False), carry, xs)
        case size:
            return in_chunks(functools.partial(loop, step), carry, xs, size, reverse=reverse)


def in_chunks(
    run: Callable[[Carry, PyTree], tuple[Carry, Out]],
    carry: Carry,
    xs: PyTree,
    size: int,
    *,
    reverse: bool,
) -> tuple[Carry, Out]:
    """`run` chunk after chunk, keeping for a gradient only what goes into each.

    What is left over when T is no multiple of the chunk is a shorter chunk at the end of time.
    """
    length = jax.tree.leaves(xs)[0].shape[0]
    whole = length // size

    def at(start: Any, steps: int) -> PyTree:
        # Cut out where it is needed: cutting all of xs into chunks first would copy all of it.
        return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, steps), xs)

    def run_whole(carry: Carry) -> tuple[Carry, Out]:
        def chunk(carry: Carry, n: jax.Array) -> tuple[Carry, Out]:
            return run(carry, at(n * size, size))

        again = jax.checkpoint(chunk, prevent_cse=False)
        carry, ys = lax.scan(again, carry, jnp.arange(whole), reverse=reverse)
        return carry, jax.tree.map(lambda a: a.reshape(whole * size, *a.shape[2:]), ys)

    def run_rest(carry: Carry) -> tuple[Carry, Out]:
        return jax.checkpoint(lambda carry: run(carry, at(whole * size, length - whole * size)))(
            carry
        )

    if whole * size == length:
        return run_whole(carry)
    if whole == 0:
        return run_rest(carry)
    if reverse:
        carry, rest = run_rest(carry)
        carry, ys = run_whole(carry)
    else:
        carry, ys = run_whole(carry)
        carry, rest = run_rest(carry)
    return carry, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), ys, rest)


# `scan` outside of `jit` is traced and compiled anew at every call; this is compiled once for equal
# bodies, so a body must be a value: a function is not, as what it closes over may change.
# Not inlined: JAX 0.10 would then compile the backward pass anew. XLA makes the same program of it.
compiled_scan = jax.jit(scan, static_argnames=("body", "reverse", "unroll", "remat"))
