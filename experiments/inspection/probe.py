"""Linear probes: what can be read off the state of a network, step by step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from experiments.inspection.at_once import sequences_at_once
from experiments.inspection.layers import unit_memories

if TYPE_CHECKING:
    from experiments.model import Model, ModelParams

RIDGE = 0.01
"""Weight of the squares of the probe's coefficients, beside features with a variance of 1."""


def probe_accuracy(
    model: "Model",
    params: "ModelParams",
    inputs: Array,
    classes: Int[Array, "K N"],
    steps: Sequence[int],
) -> Float[Array, "K S"] | None:
    """How well linear probes of the units' memories tell ``K`` classes after some steps.

    A probe is a ridge regression of the one-hot classes on the memories of all units, see
    `LayerTrace.memory`, fitted to half of the sequences and tried on the others.

    Args:
      model: the model.
      params: its parameters.
      inputs: sequences of one length, features ``[T, N, I]`` or class indices ``[T, N]``; ``N``
        is even, and should be several times the number of units.
      classes: ``K`` classes of every sequence, from 0.
      steps: ``S`` steps of the sequences; the memories after them are probed.

    Returns:
      The share of right classes; None if no layer has a memory of units.

    Raises:
      ValueError: if the number of sequences is odd.
    """
    count = inputs.shape[1]
    if count % 2:
        raise ValueError(f"probe_accuracy: inputs must be an even number of sequences; got {count}")
    if jax.eval_shape(lambda: unit_memories(model, params, inputs[:, :1])) is None:
        return None
    return _accuracies(model, params, inputs, classes, jnp.asarray(steps), int(classes.max()) + 1)


def _accuracies(
    model: "Model", params: "ModelParams", inputs: Array, classes: Array, steps: Array, most: int
) -> Array:
    """`probe_accuracy` as one program."""

    @jax.jit
    def run(params: "ModelParams", inputs: Array, classes: Array, steps: Array) -> Array:
        def memories(part: Array) -> Array:
            found = unit_memories(model, params, part)
            assert found is not None
            return found[steps].astype(jnp.float32)

        length, count, *features_of_input = inputs.shape
        parts = inputs.reshape(length, -1, sequences_at_once(length, count), *features_of_input)
        found = jax.lax.map(memories, jnp.moveaxis(parts, 1, 0))
        features = jnp.moveaxis(found, 0, 1).reshape(len(steps), count, -1)
        return jax.lax.map(lambda each: probe(each, classes, most), features).T

    return run(params, inputs, classes, steps)


def probe(
    features: Float[Array, "N F"], classes: Int[Array, "K N"], most: int
) -> Float[Array, " K"]:
    """The share of ``K`` classes that a ridge regression on features tells, on held-out rows.

    Args:
      features: the features of every row; the probe is fitted to the first half of the rows.
      classes: ``K`` classes of every row, below ``most``.
      most: number of classes.

    >>> rows = jax.random.normal(jax.random.key(0), (200, 4))
    >>> told = (rows[:, 0] > 0).astype(int)
    >>> untold = jax.random.randint(jax.random.key(1), (200,), 0, 2)
    >>> first, second = probe(rows, jnp.stack([told, untold]), 2).tolist()
    >>> first > 0.9, second < 0.65
    (True, True)
    """
    half = len(features) // 2
    fitted = features[:half]
    mean, deviation = fitted.mean(axis=0, keepdims=True), fitted.std(axis=0, keepdims=True)
    x = (features - mean) / (deviation + 1e-6)
    x = jnp.concatenate([x, jnp.ones((len(x), 1))], axis=1)
    wanted = jax.nn.one_hot(classes.T, most).reshape(len(x), -1)
    gram = x[:half].T @ x[:half] + RIDGE * half * jnp.eye(x.shape[1])
    weights = jnp.linalg.solve(gram, x[:half].T @ wanted[:half])
    told = (x[half:] @ weights).reshape(half, -1, most).argmax(axis=-1)
    return (told == classes.T[half:]).mean(axis=0)
