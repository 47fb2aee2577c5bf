"""Random positions in sequences."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from lstm_jax.types import PRNGKey


def distinct_steps(key: PRNGKey, count: int, steps: Int[Array, " B"]) -> Int[Array, "{count} B"]:
    """Draw ``count`` different steps of every row in ascending order, each set equally likely.

    Args:
      key: the key to draw from.
      count: number of steps to draw.
      steps: the number of steps of every row, from which they are drawn; at least ``count``.

    Reference: Floyd's algorithm, in Bentley & Floyd (1987), *A sample of brilliance*.

    >>> distinct_steps(jax.random.key(0), 3, jnp.array([3, 100]))[:, 0].tolist()
    [0, 1, 2]
    """
    last = steps[None] - count + jnp.arange(count)[:, None]
    drawn = jax.random.randint(key, last.shape, 0, last + 1)

    def choose(chosen: Array, each: tuple[Array, Array, Array]) -> tuple[Array, None]:
        number, step, otherwise = each
        taken = jnp.any(chosen == step[None], axis=0)
        return chosen.at[number].set(jnp.where(taken, otherwise, step)), None

    none = jnp.full_like(last, -1)
    return jnp.sort(jax.lax.scan(choose, none, (jnp.arange(count), drawn, last))[0], axis=0)
