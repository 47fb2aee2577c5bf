"""Sequences of random lengths, and answers at their last steps.

In the experiments of 1997 a sequence has between T and T + T/10 steps, and counts as wrong if the
absolute error of any output unit at its last step is above a tolerance.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from experiments.tasks.lengths import last_steps
from lstm_jax.types import PRNGKey


def longest(minimum: int) -> int:
    """The longest sequence of a minimal length T: ``T + T/10``.

    >>> longest(100), longest(1000)
    (110, 1100)
    """
    return minimum + minimum // 10


def draw_lengths(key: PRNGKey, minimum: int, batch_size: int) -> Int[Array, " B"]:
    """Lengths drawn uniformly from T to T + T/10, both included.

    Args:
      key: the key to draw from.
      minimum: the minimal length T.
      batch_size: number of lengths.
    """
    return jax.random.randint(key, (batch_size,), minimum, longest(minimum) + 1)


def valid_steps(lengths: Int[Array, " B"], steps: int) -> Array:
    """Where sequences have a step: ``[steps, B]``.

    >>> valid_steps(jnp.array([1, 3]), 3).T.tolist()
    [[True, False, False], [True, True, True]]
    """
    return jnp.arange(steps)[:, None] < lengths[None]


def at_end(outputs: Float[Array, "T B O"], lengths: Int[Array, " B"] | None) -> Array:
    """The outputs of the last valid steps, ``[B, O]``."""
    return last_steps(outputs, lengths, 1)[0]


def error_metrics(
    units: Float[Array, "B O"], targets: Float[Array, "B O"], tolerance: float
) -> dict[str, Float[Array, ""]]:
    """Mean absolute error of the output units, and the share of wrong sequences.

    Args:
      units: the activations of the output units.
      targets: their targets.
      tolerance: the largest absolute error of any unit of a right sequence.

    >>> error_metrics(jnp.array([[0.1, 0.8], [0.5, 0.5]]), jnp.array([[0.0, 1.0]] * 2), 0.25)
    {'mean_error': Array(0.325, dtype=float32), 'wrong': Array(0.5, dtype=float32)}
    """
    errors = jnp.abs(units - targets)
    wrong = jnp.any(errors > tolerance, axis=-1)
    return {"mean_error": jnp.mean(errors), "wrong": jnp.mean(wrong.astype(errors.dtype))}
