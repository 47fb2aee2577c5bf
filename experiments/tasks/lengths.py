"""Lengths of sequences: that of a task, and those of one batch with different ones."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from experiments.tasks.task import Split
from lstm_jax.types import PRNGKey

HeldOut = Literal["longest", "drawn"]
"""Lengths of held-out sequences: the longest alone, or drawn as those of training sequences."""


def draw_lengths(
    task: Any, shortest: str, longest: str, split: Split, key: PRNGKey, batch_size: int
) -> Int[Array, " B"] | None:
    """Draw lengths uniformly from one field of a task to another, both included.

    Args:
      task: the task, with a field ``held_out`` (`HeldOut`).
      shortest: the name of the field with the shortest length; its value is None if all sequences
        have the longest.
      longest: the name of the field with the longest length.
      split: lengths of held-out sequences are drawn if ``held_out`` says so.
      key: the key of the batch; what else is drawn from it does not change.
      batch_size: number of lengths.

    Returns:
      The lengths, or None where all sequences have the longest.

    Raises:
      ValueError: if the shortest is above the longest, or None where lengths have to be drawn.

    >>> from experiments.tasks import Adding
    >>> task = Adding(min_length=50, length=400)
    >>> key = jax.random.key(0)
    >>> drawn = draw_lengths(task, "min_length", "length", "train", key, 1000)
    >>> 50 <= drawn.min() < 60 and 390 < drawn.max() <= 400
    Array(True, dtype=bool)
    >>> draw_lengths(task, "min_length", "length", "test", key, 1000)
    """
    low, high = getattr(task, shortest), getattr(task, longest)
    if low is None and task.held_out == "drawn":
        raise ValueError(f"task.held_out: drawn needs a task.{shortest}; got none")
    if low is None or (split != "train" and task.held_out == "longest"):
        return None
    if low > high:
        raise ValueError(f"task.{shortest}: must be at most task.{longest} ({high}); got {low}")
    # Folding in leaves the keys that a task splits off as they are without drawn lengths.
    return jax.random.randint(jax.random.fold_in(key, 0), (batch_size,), low, high + 1)


def valid_steps(lengths: Int[Array, " B"], steps: int) -> Array:
    """Where sequences have a step: ``[steps, B]``.

    >>> valid_steps(jnp.array([1, 3]), 3).T.tolist()
    [[True, False, False], [True, True, True]]
    """
    return jnp.arange(steps)[:, None] < lengths[None]


def last_steps(array: Array, lengths: Int[Array, " B"] | None, count: int) -> Array:
    """The last ``count`` valid steps of every row: ``[T, B, ...]`` to ``[count, B, ...]``.

    Args:
      array: values of every step.
      lengths: the valid steps of every row, at least ``count``; None if all are valid.
      count: number of steps.

    >>> steps = jnp.arange(6).reshape(3, 2)
    >>> last_steps(steps, jnp.array([3, 2]), 2).tolist()
    [[2, 1], [4, 3]]
    """
    if lengths is None:
        return array[-count:]
    steps = lengths[None] - count + jnp.arange(count)[:, None]
    return jnp.take_along_axis(array, steps.reshape(*steps.shape, *[1] * (array.ndim - 2)), axis=0)


def length_field(task: Any) -> str | None:
    """The field of a task with its length, lag or delay: the first with a whole number, no seed.

    >>> from experiments.tasks import Copy, Digits
    >>> length_field(Copy(delay=30)), length_field(Digits(permutation_seed=3))
    ('delay', None)
    """
    for field in dataclasses.fields(task):
        value = getattr(task, field.name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if whole and not field.name.endswith("seed"):
            return field.name
    return None


def length_of(task: Any) -> int | None:
    """The value of `length_field`.

    >>> from experiments.tasks import Copy
    >>> length_of(Copy(delay=30))
    30
    """
    name = length_field(task)
    return None if name is None else getattr(task, name)


def trained_lengths(task: Any) -> tuple[int, int] | None:
    """The shortest and the longest length of training sequences; None for a task without one.

    >>> from experiments.tasks import Adding
    >>> trained_lengths(Adding(length=400)), trained_lengths(Adding(length=400, min_length=50))
    ((400, 400), (50, 400))
    """
    longest = length_of(task)
    if longest is None:
        return None
    shortest = getattr(task, f"min_{length_field(task)}", None)
    return longest if shortest is None else shortest, longest
