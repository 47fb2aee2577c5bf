"""The order of the gate blocks along the ``4H`` axis, which differs between libraries."""

import jax
import jax.numpy as jnp

GATE_ORDER = "ifgo"
"""The gate order of lstm_jax: input, forget, candidate, output."""


def reorder_gates(array: jax.Array, *, source: str, target: str) -> jax.Array:
    """Reorder the gate blocks along the last axis.

    Args:
      array: ``[..., 4H]``.
      source: the gate order of the array, such as ``"igfo"``.
      target: the gate order of the result.

    Returns:
      The same blocks in the new order, ``[..., 4H]``.

    >>> reorder_gates(jnp.array([1.0, 2.0, 3.0, 4.0]), source="igfo", target="ifgo").tolist()
    [1.0, 3.0, 2.0, 4.0]
    """
    blocks = dict(zip(source, jnp.split(array, len(source), axis=-1), strict=True))
    return jnp.concatenate([blocks[gate] for gate in target], axis=-1)
