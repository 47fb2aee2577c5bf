"""The plain scan over time: what every other way of running a cell is tested against."""

from collections.abc import Callable
from typing import Any, TypeVar

from jax import lax

from lstm_jax.types import P, PyTree, S, Step

Out = TypeVar("Out")


def scan(
    step: Step[P, S],
    params: P,
    xs: PyTree,
    state: S,
    *,
    emit: Callable[[S, Any, S], Out],
    reverse: bool = False,
    unroll: int = 1,
) -> tuple[S, Out]:
    """Run `step` over the leading axis of `xs`: ``s_t = step(params, s_{t-1}, x_t)``.

    Args:
      step: one time step, ``(params, state, x) -> state``.
      params: parameters of the step.
      xs: inputs, a pytree with leaves ``[T, ...]``.
      state: state before the first step.
      emit: ``(s_{t-1}, x_t, s_t) -> y_t``, what to keep of every step.
      reverse: run from the last step to the first; ``y_t`` stays in the order of the inputs.
      unroll: steps per iteration of the compiled loop.

    Returns:
      ``(final state, ys)``, ys with leaves ``[T, ...]``.

    >>> import jax.numpy as jnp
    >>> cumulative_sum = lambda params, state, x: state + x
    >>> final, ys = scan(cumulative_sum, None, jnp.arange(4), 0, emit=lambda s_tm1, x, s_t: s_t)
    >>> ys.tolist()
    [0, 1, 3, 6]
    """

    def body(state_tm1: S, x_t: Any) -> tuple[S, Out]:
        state_t = step(params, state_tm1, x_t)
        return state_t, emit(state_tm1, x_t, state_t)

    return lax.scan(body, state, xs, reverse=reverse, unroll=unroll)
