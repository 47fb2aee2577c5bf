"""The plain scan over time: what every other way of running a cell is tested against."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax import lax

from lstm_jax.types import P, PyTree, S, Step

Out = TypeVar("Out")


def scan(
    step: Step[P, S],
    params: P,
    xs: PyTree,
    state: S,
    *,
    emit: Callable[[P, S, Any, S], Out],
    reverse: bool = False,
    unroll: int = 1,
) -> tuple[S, Out]:
    """Run `step` over the leading axis of `xs`: ``s_t = step(params, s_{t-1}, x_t)``.

    Args:
      step: one time step, ``(params, state, x) -> state``.
      params: parameters of the step.
      xs: inputs, a pytree with leaves ``[T, ...]``.
      state: state before the first step.
      emit: ``(params, s_{t-1}, x_t, s_t) -> y_t``, what to keep of every step.
      reverse: run from the last step to the first; ``y_t`` stays in the order of the inputs.
      unroll: steps per iteration of the compiled loop.

    Returns:
      ``(final state, ys)``, ys with leaves ``[T, ...]``.

    Reference:
      Werbos (1990), *Backpropagation through time: what it does and how to do it*, which is what
      the gradient of this loop is.

    >>> import jax.numpy as jnp
    >>> add = lambda params, state, x: state + x
    >>> final, ys = scan(add, None, jnp.arange(4), 0, emit=lambda params, s_tm1, x, s_t: s_t)
    >>> ys.tolist()
    [0, 1, 3, 6]
    """

    def body(state_tm1: S, x_t: Any) -> tuple[S, Out]:
        state_t = step(params, state_tm1, x_t)
        return state_t, emit(params, state_tm1, x_t, state_t)

    return lax.scan(body, state, xs, reverse=reverse, unroll=unroll)


# `scan` outside of `jit` is traced and compiled anew at every call; this is compiled once for equal
# `step` and `emit`, so both must be values: a function is not, as what it closes over may change.
# Not inlined: JAX 0.10 would then compile the backward pass anew. XLA makes the same program of it.
compiled_scan = jax.jit(scan, static_argnames=("step", "emit", "reverse", "unroll"))
