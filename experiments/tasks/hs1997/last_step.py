"""Sequences of random lengths, and answers at their last steps.

In the experiments of 1997 a sequence has between T and T + T/10 steps, and counts as wrong if the
absolute error of any output unit at its last step is above a tolerance.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from experiments.tasks.lengths import last_steps
from lstm_jax.types import PRNGKey

Objective = Literal["cross_entropy", "squared"]
"""How output units of classes are trained: with a softmax and its cross-entropy; or logistic, with
the sum of their squared errors, as in 1997."""


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


def class_units(outputs: Float[Array, "... O"], objective: Objective) -> Float[Array, "... O"]:
    """The activations of output units, one for each class: softmax, or logistic."""
    return jax.nn.softmax(outputs) if objective == "cross_entropy" else jax.nn.sigmoid(outputs)


def class_losses(
    outputs: Float[Array, "... O"], classes: Int[Array, "..."], objective: Objective
) -> Float[Array, "..."]:
    """The loss of every answer: its cross-entropy in nats, or the sum of squared errors over units.

    Args:
      outputs: what the units are computed from.
      classes: the right classes.
      objective: which of the two.

    >>> outputs, classes = jnp.array([[0.0, 0.0]]), jnp.array([1])
    >>> class_losses(outputs, classes, "cross_entropy"), class_losses(outputs, classes, "squared")
    (Array([0.6931472], dtype=float32), Array([0.5], dtype=float32))
    """
    if objective == "cross_entropy":
        return optax.softmax_cross_entropy_with_integer_labels(outputs, classes)
    truth = jax.nn.one_hot(classes, outputs.shape[-1])
    return jnp.sum(jnp.square(class_units(outputs, objective) - truth), axis=-1)
