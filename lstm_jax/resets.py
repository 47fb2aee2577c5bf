"""Where rows return to the initial state, as at the start of an episode."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Real

from lstm_jax.masks import Flags, as_flags, where_rows
from lstm_jax.types import PyTree


def resets_from_dones(
    done: Flags, first: Bool[ArrayLike, "..."] | Real[ArrayLike, "..."] = False
) -> Bool[Array, "T ..."]:
    """Resets from ends of episodes: ``reset_{t+1} = done_t``, as `unroll` resets *before* a step.

    Args:
      done: true where an episode ends *with* step ``t``, ``[T, ...]``: booleans, or numbers that
        are 0 or 1.
      first: whether to reset before the first step: ``done`` of the last step of the chunk before,
        ``[...]`` or one for all rows.

    Returns:
      True where an episode starts, ``[T, ...]``.

    Raises:
      TypeError: when `done` or `first` are neither booleans nor real numbers.
      ValueError: when `done` has no time axis, the shape of `first` does not fit, or a number is
        known to be neither 0 nor 1.

    Reference:
      Mnih et al. (2016), *Asynchronous methods for deep reinforcement learning* (recurrent agents
      whose state is reset at every episode).

    >>> resets_from_dones(jnp.array([False, True, False])).tolist()
    [False, False, True]
    """
    done = as_flags("resets_from_dones", "done", done)
    first = as_flags("resets_from_dones", "first", first)
    if not done.ndim:
        raise ValueError("resets_from_dones: done must have time as axis 0, [T, ...]; got shape ()")
    rows = done.shape[1:]
    if first.shape not in ((), rows):
        wanted = (
            f"() or {rows}, the batch axes of done" if rows else "(), as done has no batch axes"
        )
        raise ValueError(f"resets_from_dones: first must have shape {wanted}; got {first.shape}")
    start = jnp.broadcast_to(first, (1, *rows))
    return jnp.concatenate([start, done])[: done.shape[0]]


def reset_state(
    reset: Bool[Array, "..."], valid: Bool[Array, "..."] | None, initial: PyTree, state: PyTree
) -> PyTree:
    """The state before a step: the initial one in rows that are reset, unless the step is masked.

    Args:
      reset: true in rows to reset.
      valid: true in rows where the step is valid, or None for all.
      initial: the initial state.
      state: ``s_{t-1}``.

    Returns:
      A state like `state`.

    >>> reset = jnp.array([True, False])
    >>> reset_state(reset, None, jnp.zeros(2), jnp.ones(2)).tolist()
    [0.0, 1.0]
    """
    return where_rows(reset if valid is None else reset & valid, initial, state)


@functools.partial(jax.jit, static_argnames="reverse")
def resets_in_opposite_direction(
    reset: Bool[Array, "T ..."], valid: Bool[Array, "T ..."] | None, *, reverse: bool
) -> Bool[Array, "T ..."]:
    """The resets that separate the same sequences when they are unrolled in the other direction.

    A reset separates a step from the step before it. In the other direction, that earlier step is
    reset, also across masked steps.

    Args:
      reset: true where rows are reset, in the order of steps.
      valid: true at valid steps, or None for all.
      reverse: whether `reset` is for an unroll from the last step to the first.

    Returns:
      Resets for the other direction, ``[T, ...]``.

    >>> starts = jnp.array([True, False, True, False])  # two sequences of two steps
    >>> resets_in_opposite_direction(starts, None, reverse=False).tolist()  # their ends
    [False, True, False, False]
    """

    def step(pending: jax.Array, at_t: tuple[jax.Array, jax.Array]) -> Any:
        reset_t, valid_t = at_t
        return jnp.where(valid_t, reset_t, pending), pending

    if not reset.shape[0]:
        return reset
    every = jnp.ones_like(reset) if valid is None else valid
    none = reset[0] & every[0] & False  # false, with the sharding of both
    # Against the direction of `reset`: at each step, whether the one after it is reset.
    return lax.scan(step, none, (reset, every), reverse=not reverse)[1]
