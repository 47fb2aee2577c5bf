"""Which steps of which rows are there, and where a row starts anew."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, Int

from lstm_jax.types import PyTree


def mask_of_lengths(lengths: Int[Array, "..."], T: int) -> Bool[Array, "T ..."]:
    """True for the first `lengths` steps of every row: ``m_t = (t < length)``.

    Args:
      lengths: steps of every row, of any batch shape; below 0 counts as 0, above `T` as `T`.
      T: steps of the longest row.

    Returns:
      A mask ``[T, ...]``.

    >>> mask_of_lengths(jnp.array([0, 2]), T=3).astype(int).tolist()
    [[0, 1], [0, 1], [0, 0]]
    """
    lengths = jnp.asarray(lengths)
    steps = jnp.arange(T, dtype=jnp.int32).reshape(T, *[1] * lengths.ndim)
    return steps < lengths.astype(jnp.int32)


def resets_from_dones(
    done: Bool[Array, "T ..."], first: Bool[Array, "..."] | bool = False
) -> Bool[Array, "T ..."]:
    """Resets from ends: ``reset_{t+1} = done_t``, since `unroll` resets *before* a step.

    Args:
      done: where an episode ends *with* step ``t``, ``[T, ...]``.
      first: whether the first step starts anew: ``done`` of the last step of the chunk before.

    Returns:
      Where an episode starts, ``[T, ...]``.

    Raises:
      TypeError: when `done` is not boolean.
      ValueError: when it has no time axis.

    Reference:
      Mnih et al. (2016), *Asynchronous methods for deep reinforcement learning* (recurrent agents
      that start anew with every episode).

    >>> resets_from_dones(jnp.array([False, True, False])).tolist()
    [False, False, True]
    """
    done = jnp.asarray(done)
    _check_boolean("resets_from_dones", "done", done)
    if not done.ndim:
        raise ValueError("reset_after: done must have time as axis 0, [T, ...]; got shape ()")
    start = jnp.broadcast_to(jnp.asarray(first, dtype=bool), (1, *done.shape[1:]))
    return jnp.concatenate([start, done])[: done.shape[0]]


def valid_steps(
    function: str, T: int, batch_shape: tuple[int, ...] | None, lengths: Any, mask: Any
) -> Bool[Array, "T ..."] | None:
    """The mask that `lengths` or `mask` stands for, once it fits.

    Args:
      function: the public function to name in errors.
      T: number of steps.
      batch_shape: the batch axes of the inputs, where they are known.
      lengths: steps of every row, or None.
      mask: true where a step is there, ``[T, ...]``, or None.

    Returns:
      A mask ``[T, ...]``, or None where every step is there.

    Raises:
      TypeError: when lengths are no integers or a mask is not boolean.
      ValueError: when both are given, the shape is wrong, or a length is not within 0 and T (where
        the numbers are known; under `jit`, lengths below 0 count as 0, and above T as T).

    >>> valid_steps("unroll", 7, (2,), jnp.array([3, 9]), None)
    Traceback (most recent call last):
    ValueError: unroll: lengths must be within 0 and T = 7; got [3, 9]
    """
    if mask is not None:
        if lengths is not None:
            raise ValueError(f"{function}: lengths or mask can be given, not both")
        return _steps_and_rows(function, "mask", mask, T, batch_shape)
    if lengths is None:
        return None
    return mask_of_lengths(check_lengths(function, lengths, T, batch_shape), T)


def check_lengths(
    function: str,
    lengths: Any,
    T: int,
    batch_shape: tuple[int, ...] | None,
    *,
    name: str = "lengths",
    inputs: str = "xs",
) -> Int[Array, "..."]:
    """`lengths` as an array, once they fit.

    Args:
      function: the public function to name in errors.
      lengths: steps of every row.
      T: number of steps.
      batch_shape: the batch axes of the inputs, where they are known.
      name: what the function calls them.
      inputs: what it calls the inputs.

    Returns:
      An array of the dtype they came in.

    Raises:
      TypeError, ValueError: as `valid_steps`.

    >>> check_lengths("LSTM", jnp.array([3]), 7, (2,), name="seq_lengths", inputs="inputs")
    Traceback (most recent call last):
    ValueError: LSTM: seq_lengths must have shape (2,), the batch axes of inputs; got (1,)
    """
    given, lengths = lengths, jnp.asarray(lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"{function}: {name} must be integers; got {lengths.dtype}")
    if batch_shape is not None and lengths.shape != batch_shape:
        raise ValueError(
            f"{function}: {name} must have shape {batch_shape}, the batch axes of {inputs}; got"
            f" {lengths.shape}"
        )
    if not isinstance(given, Tracer):  # as an array of JAX it may be one, inside of `jit`
        known = np.asarray(given)
        if np.any((known < 0) | (known > T)):
            raise ValueError(
                f"{function}: {name} must be within 0 and T = {T}; got {known.tolist()}"
            )
    return lengths


def check_reset(
    function: str, T: int, batch_shape: tuple[int, ...] | None, reset: Any
) -> Bool[Array, "T ..."] | None:
    """`reset` as an array, once it fits; None stays None.

    >>> check_reset("unroll", 7, (2,), jnp.zeros((2, 7), bool))
    Traceback (most recent call last):
    ValueError: unroll: reset must have shape (7, 2), T and the batch axes of xs; got (2, 7)
    """
    return None if reset is None else _steps_and_rows(function, "reset", reset, T, batch_shape)


def _steps_and_rows(
    function: str, name: str, array: Any, T: int, batch_shape: tuple[int, ...] | None
) -> Bool[Array, "T ..."]:
    array = jnp.asarray(array)
    _check_boolean(function, name, array)
    wanted = (T, *(array.shape[1:] if batch_shape is None else batch_shape))
    if array.shape != wanted:
        raise ValueError(
            f"{function}: {name} must have shape {wanted}, T and the batch axes of xs; got"
            f" {array.shape}"
        )
    return array


def _check_boolean(function: str, name: str, array: jax.Array) -> None:
    if array.dtype != jnp.bool_:
        raise TypeError(f"{function}: {name} must be boolean; got {array.dtype}")


def where_rows(rows: Bool[Array, "..."], new: PyTree, old: PyTree) -> PyTree:
    """`new` in the rows that are true, `old` in the others, whatever axes follow those of `rows`.

    >>> where_rows(jnp.array([True, False]), jnp.ones((2, 3)), jnp.zeros((2, 3))).tolist()
    [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(rows.reshape(rows.shape + (1,) * (a.ndim - rows.ndim)), a, b)

    return jax.tree.map(choose, new, old)


def zero_elsewhere(rows: Bool[Array, "..."], tree: PyTree) -> PyTree:
    """`tree` in the rows that are true, zeros in the others, of values and of gradients.

    A select, not a product: NaN times zero is NaN.

    >>> zero_elsewhere(jnp.array([True, False]), jnp.array([1.0, jnp.nan])).tolist()
    [1.0, 0.0]
    """
    return where_rows(rows, tree, jax.tree.map(jnp.zeros_like, tree))


@functools.partial(jax.jit, static_argnames="reverse")
def forward_fill(
    valid: Bool[Array, "T ..."], ys: PyTree, first: PyTree, *, reverse: bool
) -> PyTree:
    """`ys` where steps are there; elsewhere what was last shown.

    Args:
      valid: which steps are there.
      ys: what is shown, leaves ``[T, ...]``.
      first: what to show before the first step that is there.
      reverse: whether steps run from the last to the first.

    Returns:
      Leaves ``[T, ...]``.

    >>> there = jnp.array([False, True, False])
    >>> forward_fill(there, jnp.array([1.0, 2.0, 3.0]), jnp.array(0.0), reverse=False).tolist()
    [0.0, 2.0, 2.0]
    """

    def step(shown: PyTree, at: tuple[jax.Array, PyTree]) -> tuple[PyTree, PyTree]:
        shown = where_rows(*at, shown)
        return shown, shown

    return lax.scan(step, first, (valid, ys), reverse=reverse)[1]


@functools.partial(jax.jit, static_argnames="reverse")
def opposite_resets(
    reset: Bool[Array, "T ..."], valid: Bool[Array, "T ..."] | None, *, reverse: bool
) -> Bool[Array, "T ..."]:
    """The resets that cut the same sequences apart when they are run in the other direction.

    A reset stands between a step and the one that is run before it. In the other direction it is
    the latter that must start anew, wherever masked steps lie in between.

    Args:
      reset: where a row starts anew, in the order of steps.
      valid: which steps are there, or None for all.
      reverse: whether `reset` was meant for running from the last step to the first.

    Returns:
      Resets for running in the other direction, ``[T, ...]``.

    >>> starts = jnp.array([True, False, True, False])  # two sequences of two steps
    >>> opposite_resets(starts, None, reverse=False).tolist()  # their ends
    [False, True, False, False]
    """

    def to_next(pending: jax.Array, step: tuple[jax.Array, jax.Array]) -> Any:
        here, there = step
        return jnp.where(there, here, pending), pending

    if not reset.shape[0]:
        return reset
    there = jnp.ones_like(reset) if valid is None else valid
    none = reset[0] & there[0] & False  # split over devices as both of them are
    # Goes against the direction of `reset`: at each step, whether the one run after it starts anew.
    return lax.scan(to_next, none, (reset, there), reverse=not reverse)[1]
