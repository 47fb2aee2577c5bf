"""Random keys of cells, which depend on the key of a call, the place in the model, and the step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from lstm_jax.sharding import match_sharding
from lstm_jax.types import PRNGKey, PyTree


class StepRng(NamedTuple):
    """The key of a cell and the index of a step, from which the cell draws random numbers.

    The numbers do not depend on chunks, unrolling, rematerialisation, or earlier steps: the same
    step of the same sequence draws the same numbers in every call. (This needs keys that draw the
    same numbers under `vmap` as without: JAX's default keys do, ``"rbg"`` keys do not.)

    Attributes:
      key: the key of this cell for the whole sequence.
      t: index of the step in the sequence.
    """

    key: PRNGKey
    t: Int[Array, ""]

    def child(self, k: int) -> "StepRng":
        """The `StepRng` of the k-th cell inside of this one.

        Args:
          k: position in `Transform.children`.

        Returns:
          The key of that cell, and the same step.

        >>> rng = StepRng(jax.random.key(0), jnp.asarray(3))
        >>> bool(rng.child(0).step_key == rng.child(1).step_key)
        False
        """
        return StepRng(jax.random.fold_in(self.key, k + 1), self.t)

    @property
    def sequence_key(self) -> PRNGKey:
        """The key for numbers that are drawn once for a sequence: the same at every step."""
        return own_key(self.key)

    @property
    def step_key(self) -> PRNGKey:
        """The key for numbers that are drawn at every step."""
        return jax.random.fold_in(self.sequence_key, self.t)


def own_key(key: PRNGKey) -> PRNGKey:
    """The key for a transform's own random numbers, in `sample_params` or `apply_sequence`.

    Args:
      key: the key of the transform.

    Returns:
      A key that differs from those of the cells inside.

    >>> key = jax.random.key(0)
    >>> bool(own_key(key) == child_key(key, 0))
    False
    """
    return jax.random.fold_in(key, 0)


def child_key(key: PRNGKey | None, k: int) -> PRNGKey | None:
    """The key of the k-th cell inside of a transform.

    Args:
      key: the key of the transform, or None.
      k: position in `Transform.children`.

    Returns:
      A key that differs from the transform's own and from those of the other cells; None for None.

    >>> child_key(None, 0) is None
    True
    """
    return None if key is None else jax.random.fold_in(key, k + 1)


def child_rng(rng: StepRng | None, k: int = 0) -> StepRng | None:
    """The `StepRng` of the k-th cell inside of a transform; None for None.

    Args:
      rng: the `StepRng` of the transform, or None where no random numbers are drawn.
      k: position in `Transform.children`.

    Returns:
      `StepRng.child`, or None.

    >>> child_rng(None) is None
    True
    """
    return None if rng is None else rng.child(k)


def drop(key: PRNGKey, rate: float, x: PyTree) -> PyTree:
    """Dropout: ``m * x / (1 - rate)`` with ``m ~ Bernoulli(1 - rate)``, element by element.

    Args:
      key: typed random key.
      rate: probability of a zero.
      x: an array, or a pytree in which every floating-point array is dropped by its own mask.

    Returns:
      `x` with elements dropped and the others scaled, so that the mean stays the same.

    Reference:
      Srivastava et al. (2014), *Dropout: a simple way to prevent neural networks from overfitting*.

    >>> sorted(set(drop(jax.random.key(0), 0.75, jnp.ones(100)).tolist()))
    [0.0, 4.0]
    """
    leaves, structure = jax.tree.flatten(x)
    dropped = [
        _drop_array(jax.random.fold_in(key, k) if k else key, rate, jnp.asarray(leaf))
        for k, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, dropped)


def _drop_array(key: PRNGKey, rate: float, x: jax.Array) -> jax.Array:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    scale = 1.0 / (1.0 - rate) if rate < 1.0 else 0.0
    return jnp.where(
        match_sharding(kept(key, rate, x.shape), jax.typeof(x)), x * scale, jnp.zeros_like(x)
    )


def kept(key: PRNGKey, rate: float, shape: tuple[int, ...]) -> Bool[Array, "..."]:
    """A mask that is false with probability `rate`."""
    return jax.random.bernoulli(key, 1.0 - rate, shape)


def check_key(function: str, key: PRNGKey | None) -> None:
    """Raise unless `key` is a single typed key, or None.

    >>> check_key("unroll", jax.random.split(jax.random.key(0)))
    Traceback (most recent call last):
    TypeError: unroll: key must be a single key; got keys of shape (2,)
    """
    if key is None:
        return
    if not (hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise TypeError(f"{function}: key must be made by jax.random.key; got {key!r}")
    if key.shape:
        raise TypeError(f"{function}: key must be a single key; got keys of shape {key.shape}")


def check_rate(function: str, name: str, rate: float) -> None:
    """Raise unless `rate` is a probability.

    >>> check_rate("dropout", "rate", 1.5)
    Traceback (most recent call last):
    ValueError: dropout: rate must be a probability in [0, 1]; got 1.5
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"{function}: {name} must be a probability in [0, 1]; got {rate}")
