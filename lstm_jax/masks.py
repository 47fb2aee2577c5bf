"""Which steps of which rows are valid: lengths, masks, and arrays with masked steps."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int, Real

from lstm_jax.arrays import as_array, known_values
from lstm_jax.types import PyTree

Flags = Bool[ArrayLike, "T ..."] | Real[ArrayLike, "T ..."]
"""True or false at every step of every row: booleans, or numbers that are 0 or 1."""

_MOST = np.iinfo(np.int32).max


def mask_of_lengths(lengths: Int[Array, "..."], T: int) -> Bool[Array, "T ..."]:
    """True at the first `lengths` steps of every row: ``m_t = (t < length)``.

    Args:
      lengths: number of steps of every row, of any batch shape; below 0 counts as 0, above `T` as
        `T`.
      T: steps of the longest row.

    Returns:
      A mask ``[T, ...]``.

    Raises:
      TypeError: when `lengths` are not integers.

    >>> mask_of_lengths(jnp.array([0, 2]), T=3).astype(int).tolist()
    [[0, 1], [0, 1], [0, 0]]
    """
    return _first_steps(_integers("mask_of_lengths", "lengths", lengths), T)


def _first_steps(lengths: Any, T: int) -> Bool[Array, "T ..."]:
    """`mask_of_lengths` of integers."""
    lengths = in_int32(lengths)
    steps = jnp.arange(T, dtype=jnp.int32).reshape(T, *[1] * lengths.ndim)
    return steps < lengths[None]


def in_int32(lengths: Int[ArrayLike, "..."]) -> Int[Array, "..."]:
    """Lengths of any integer dtype as int32: its maximum, or 0, for those outside of its range.

    >>> in_int32(jnp.array([3, 2**32 - 1], "uint32")).tolist() == [3, 2**31 - 1]
    True
    """
    if not isinstance(lengths, jax.Array):  # JAX would wrap int64 around
        lengths = jnp.asarray(np.clip(lengths, 0, _MOST), jnp.int32)
    if jnp.iinfo(lengths.dtype).max > _MOST:
        lengths = jnp.clip(lengths, 0, _MOST)
    return lengths.astype(jnp.int32)


def valid_steps(
    function: str, T: int, batch_shape: tuple[int, ...] | None, lengths: Any, mask: Any
) -> Bool[Array, "T ..."] | None:
    """The mask that `lengths` or `mask` stands for, after a check of dtype, shape and values.

    Args:
      function: the public function to name in errors.
      T: number of steps.
      batch_shape: the batch axes of the inputs, or None where they are not known.
      lengths: number of steps of every row, or None.
      mask: true at valid steps, ``[T, ...]``, or None; see `as_flags`.

    Returns:
      A mask ``[T, ...]``, or None where every step is valid.

    Raises:
      TypeError: when lengths are not integers, or a mask not booleans or numbers.
      ValueError: when both are given, a shape is wrong, a length is not within 0 and T, or a number
        in a mask is neither 0 nor 1. Under `jit` they are not known and cannot be checked: a length
        below 0 counts as 0, one above T as T, and a number in a mask is true unless it is 0.

    >>> valid_steps("unroll", 7, (2,), jnp.array([3, 9]), None)
    Traceback (most recent call last):
    ValueError: unroll: lengths must be within 0 and T = 7; got [3, 9]
    """
    if lengths is not None and mask is not None:
        raise ValueError(f"{function}: lengths or mask can be given, not both")
    if lengths is not None:
        return _first_steps(check_lengths(function, lengths, T, batch_shape), T)
    return None if mask is None else check_mask(function, "mask", mask, T, batch_shape)


def check_lengths(
    function: str,
    lengths: Any,
    T: int,
    batch_shape: tuple[int, ...] | None,
    *,
    name: str = "lengths",
    inputs: str = "xs",
) -> Int[Array, "..."]:
    """`lengths` as an array, after a check of dtype, shape and range.

    Args:
      function: the public function to name in errors.
      lengths: number of steps of every row.
      T: number of steps.
      batch_shape: the batch axes of the inputs, or None where they are not known.
      name: the name of the argument, for errors.
      inputs: the name of the inputs, for errors.

    Returns:
      An array of the dtype of `lengths`.

    Raises:
      TypeError, ValueError: as `valid_steps`.

    >>> check_lengths("LSTM", jnp.array([3]), 7, (2,), name="seq_lengths", inputs="inputs")
    Traceback (most recent call last):
    ValueError: LSTM: seq_lengths must have shape (2,), the batch axes of inputs; got (1,)
    """
    lengths = _integers(function, name, lengths)
    if batch_shape is not None and lengths.shape != batch_shape:
        raise ValueError(
            f"{function}: {name} must have shape {batch_shape}, the batch axes of {inputs}; got"
            f" {lengths.shape}"
        )
    known = known_values(lengths)
    if known is not None and np.any((known < 0) | (known > T)):
        raise ValueError(f"{function}: {name} must be within 0 and T = {T}; got {known.tolist()}")
    return jnp.asarray(lengths)


def _integers(function: str, name: str, lengths: Any) -> Any:
    """An array of JAX or NumPy with an integer dtype."""
    lengths = as_array(function, name, lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"{function}: {name} must be integers; got {jnp.result_type(lengths)}")
    return lengths


def check_mask(
    function: str, name: str, mask: Any, T: int, batch_shape: tuple[int, ...] | None
) -> Bool[Array, "T ..."]:
    """A boolean array ``[T, ...]``, after a check of dtype, shape and values.

    Args:
      function: the public function to name in errors.
      name: the name of the argument, for errors.
      mask: the array; see `as_flags`.
      T: number of steps.
      batch_shape: the batch axes of the inputs, or None where they are not known.

    Returns:
      The array.

    Raises:
      TypeError: as `as_flags`.
      ValueError: when its shape is wrong; otherwise as `as_flags`.

    >>> check_mask("unroll", "mask", jnp.zeros((2, 7), bool), 7, (2,))
    Traceback (most recent call last):
    ValueError: unroll: mask must have shape (7, 2), T and the batch axes of xs; got (2, 7)
    """
    mask = as_flags(function, name, mask)
    wanted = (T, *(mask.shape[1:] if batch_shape is None else batch_shape))
    if mask.shape != wanted:
        raise ValueError(
            f"{function}: {name} must have shape {wanted}, T and the batch axes of xs; got"
            f" {mask.shape}"
        )
    return mask


def as_flags(function: str, name: str, flags: Any) -> Bool[Array, "..."]:
    """Booleans from booleans, or from numbers that are 0 or 1.

    Environments return such numbers as ``done``. Their gradient is zero. Where they are not known,
    as under `jit`, every number but 0 is true.

    Args:
      function: the public function to name in errors.
      name: the name of the argument, for errors.
      flags: the array.

    Returns:
      A boolean array.

    Raises:
      TypeError: when they are neither booleans nor real numbers.
      ValueError: when a number is known to be neither 0 nor 1.

    >>> as_flags("unroll", "reset", jnp.array([0.0, 1.0])).tolist()
    [False, True]
    >>> as_flags("unroll", "reset", [0.0, 0.5])
    Traceback (most recent call last):
    ValueError: unroll: reset must be booleans, or numbers that are 0 or 1; got 0.5
    """
    flags = as_array(function, name, flags)
    if flags.dtype == jnp.bool_:
        return jnp.asarray(flags)
    wanted = f"{function}: {name} must be booleans, or numbers that are 0 or 1; got"
    if not (jnp.issubdtype(flags.dtype, jnp.integer) or jnp.issubdtype(flags.dtype, jnp.floating)):
        raise TypeError(f"{wanted} {jnp.result_type(flags)}")
    known = known_values(flags)
    if known is not None:
        wrong = known[(known != 0) & (known != 1)]
        if wrong.size:
            raise ValueError(f"{wanted} {wrong[0]}")
    return jnp.asarray(flags) != 0


def where_rows(rows: Bool[Array, "..."], new: PyTree, old: PyTree) -> PyTree:
    """`new` in the rows that are true, `old` in the others, for arrays with any axes after these.

    >>> where_rows(jnp.array([True, False]), jnp.ones((2, 3)), jnp.zeros((2, 3))).tolist()
    [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    leaves = []
    for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True):
        leaves.append(jnp.where(rows.reshape(rows.shape + (1,) * (a.ndim - rows.ndim)), a, b))
    return jax.tree.unflatten(jax.tree.structure(new), leaves)


def zero_masked(valid: Bool[Array, "..."], tree: PyTree) -> PyTree:
    """`tree` at valid steps and zeros at masked ones, in values and in gradients.

    It selects and does not multiply: NaN times zero is NaN.

    >>> zero_masked(jnp.array([True, False]), jnp.array([1.0, jnp.nan])).tolist()
    [1.0, 0.0]
    """
    return where_rows(valid, tree, jax.tree.map(jnp.zeros_like, tree))


@functools.partial(jax.jit, static_argnames="reverse")
def forward_fill(
    valid: Bool[Array, "T ..."], ys: PyTree, first: PyTree, *, reverse: bool
) -> PyTree:
    """`ys` at valid steps; at masked ones the last valid value before them.

    Args:
      valid: true at valid steps.
      ys: values, leaves ``[T, ...]``.
      first: the values before the first valid step.
      reverse: whether steps run from the last to the first.

    Returns:
      Leaves ``[T, ...]``.

    >>> valid = jnp.array([False, True, False])
    >>> forward_fill(valid, jnp.array([1.0, 2.0, 3.0]), jnp.array(0.0), reverse=False).tolist()
    [0.0, 2.0, 2.0]
    """

    def step(last: PyTree, at_t: tuple[jax.Array, PyTree]) -> tuple[PyTree, PyTree]:
        last = where_rows(*at_t, last)
        return last, last

    return lax.scan(step, first, (valid, ys), reverse=reverse)[1]
