"""Initializers of kernels: by variance, uniform, orthogonal."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import initializers as jax_initializers
from jaxtyping import Array, Float

from lstm_jax.types import DType, Initializer, PRNGKey, promote_dtypes


def lecun_normal(
    key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
) -> Float[Array, "I 4*H"]:
    """Truncated normal with variance ``1 / I``, so that pre-activations keep the input's scale.

    The variance depends on the fan-in alone, so it is the same for all gates as for one.

    Args:
      key: typed random key.
      shape: ``(I, 4H)``.
      dtype: dtype of the result.

    Returns:
      The kernel, of `shape`.

    Reference:
      LeCun, Bottou, Orr & Müller (1998), *Efficient BackProp*.

    >>> lecun_normal(jax.random.key(0), (3, 8)).shape
    (3, 8)
    """
    return _rounded(jax_initializers.lecun_normal(), key, shape, dtype)


def glorot_uniform(
    key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
) -> Float[Array, "I 4*H"]:
    """Uniform with variance ``2 / (I + 4H)``, for the kernel of all gates as one matrix.

        W ~ U(-a, a),  a = sqrt(6 / (I + 4H))

    The fan-out is that of all gates, so the weights are smaller than those of a separate draw for
    each gate.

    Args:
      key: typed random key.
      shape: ``(I, 4H)``.
      dtype: dtype of the result.

    Returns:
      The kernel, of `shape`.

    Reference:
      Glorot & Bengio (2010), *Understanding the difficulty of training deep feedforward neural
      networks*.

    >>> kernel = glorot_uniform(jax.random.key(0), (4, 20))
    >>> bool(jnp.abs(kernel).max() <= 0.5)
    True
    """
    return _rounded(jax_initializers.glorot_uniform(), key, shape, dtype)


def orthogonal(
    key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
) -> Float[Array, "H 4*H"]:
    """Orthonormal rows, for the recurrent kernel of all gates as one matrix: ``R R^T = I``.

    ``h R`` over all gates has the norm of ``h``, so each gate's block has half the scale of one
    drawn by `orthogonal_per_gate`.

    Args:
      key: typed random key.
      shape: ``(H, 4H)``.
      dtype: dtype of the result.

    Returns:
      The recurrent kernel, of `shape`.

    Reference:
      Saxe, McClelland & Ganguli (2014), *Exact solutions to the nonlinear dynamics of learning
      in deep linear neural networks*.

    >>> kernel = orthogonal(jax.random.key(0), (5, 20))
    >>> bool(jnp.allclose(kernel @ kernel.T, jnp.eye(5), atol=1e-5))
    True
    """
    return _rounded(_orthogonal, key, shape, dtype)


def orthogonal_per_gate(
    key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
) -> Float[Array, "H k*H"]:
    """A square orthogonal block for each gate: ``W_k^T W_k = I`` for every ``k``.

    With one orthogonal draw ``[H, 4H]``, as by `orthogonal`, each gate's block has half the scale.

    Args:
      key: typed random key.
      shape: ``(H, kH)`` for ``k`` gates.
      dtype: dtype of the result.

    Returns:
      The recurrent kernel, of `shape`.

    Raises:
      ValueError: when `shape` is not ``(H, kH)``.

    Reference:
      Saxe, McClelland & Ganguli (2014), *Exact solutions to the nonlinear dynamics of learning
      in deep linear neural networks*.

    >>> kernel = orthogonal_per_gate(jax.random.key(0), (5, 20))
    >>> f = kernel[:, 5:10]
    >>> bool(jnp.allclose(f.T @ f, jnp.eye(5), atol=1e-5))
    True
    """
    if len(shape) != 2 or shape[0] < 1 or shape[1] % shape[0]:
        raise ValueError(
            f"orthogonal_per_gate: shape must be (H, k * H), a square block for each of k gates;"
            f" got {tuple(shape)}"
        )
    hidden_size, width = shape
    keys = jax.random.split(key, width // hidden_size)
    blocks = jax.vmap(lambda key: orthogonal(key, (hidden_size, hidden_size), dtype))(keys)
    return jnp.moveaxis(blocks, 0, 1).reshape(shape)


@dataclass(frozen=True)
class Uniform:
    """Uniform on ``[-bound, bound]``, or the sum of several such draws.

        W = u_1 + ... + u_terms,  u_k ~ U(-bound, bound)

    Two terms correspond to the two biases of a library that adds them.

    Args:
      bound: the largest absolute value of one draw.
      terms: the number of draws that are added.

    Raises:
      ValueError: when `bound` is not positive and finite, or `terms` is below 1.

    >>> Uniform(0.5)(jax.random.key(0), (3, 8)).shape
    (3, 8)
    """

    bound: float
    terms: int = 1

    def __post_init__(self) -> None:
        _check_positive("Uniform", "bound", self.bound)
        if self.terms < 1:
            raise ValueError(f"Uniform: terms must be at least 1; got {self.terms}")

    def __call__(
        self, key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
    ) -> Float[Array, "..."]:
        """Draw an array.

        Args:
          key: typed random key.
          shape: any shape.
          dtype: dtype of the result; drawn in float32 at least, and rounded.

        Returns:
          The draw, of `shape`.
        """

        def draw(key: PRNGKey, shape: Sequence[int], dtype: DType) -> jax.Array:
            terms = (self.terms, *shape)
            return jax.random.uniform(key, terms, dtype, -self.bound, self.bound).sum(axis=0)

        return _rounded(draw, key, shape, dtype)


@dataclass(frozen=True)
class TruncatedNormal:
    """Normal, truncated at two deviations: ``W = stddev * n`` with ``n ~ N(0, 1), |n| < 2``.

    The truncation leaves a standard deviation of ``0.88 * stddev``; `lecun_normal` corrects for it,
    this does not.

    Args:
      stddev: the standard deviation before truncation.

    Raises:
      ValueError: when `stddev` is not positive and finite.

    >>> bool(jnp.abs(TruncatedNormal(0.1)(jax.random.key(0), (3, 8))).max() <= 0.2)
    True
    """

    stddev: float

    def __post_init__(self) -> None:
        _check_positive("TruncatedNormal", "stddev", self.stddev)

    def __call__(
        self, key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
    ) -> Float[Array, "..."]:
        """Draw an array.

        Args:
          key: typed random key.
          shape: any shape.
          dtype: dtype of the result; drawn in float32 at least, and rounded.

        Returns:
          The draw, of `shape`.
        """

        def draw(key: PRNGKey, shape: Sequence[int], dtype: DType) -> jax.Array:
            normal = jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)
            return float(self.stddev) * normal

        return _rounded(draw, key, shape, dtype)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _orthogonal(key: PRNGKey, shape: Sequence[int], dtype: DType) -> Float[Array, "..."]:
    """An orthogonal draw; under `vmap` the draws run one after the other.

    On a CPU, XLA can deadlock when it runs batched QR decompositions in parallel, such as those of
    several gates or layers in a `vmap` over seeds.
    """
    draw = jax_initializers.orthogonal()
    return jax.custom_batching.sequential_vmap(lambda key: draw(key, shape, dtype))(key)


def _rounded(
    draw: Initializer, key: PRNGKey, shape: Sequence[int], dtype: DType
) -> Float[Array, "..."]:
    """Draw in float32 at least, then round.

    A uniform draw in bfloat16 has only 128 distinct values, and there is no QR in bfloat16.
    """
    return draw(key, tuple(shape), promote_dtypes(dtype, jnp.float32)).astype(dtype)


def _check_positive(owner: str, name: str, value: float) -> None:
    if not 0.0 < value < math.inf:
        raise ValueError(f"{owner}: {name} must be positive and finite; got {value}")
