"""Initializers of several gates, made of initializers of one gate."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax.copies import Copyable
from lstm_jax.initializers.biases import GATES, Chrono, ForgetBias, UniformGate
from lstm_jax.initializers.weights import glorot_uniform, orthogonal, orthogonal_per_gate
from lstm_jax.types import DType, Initializer, PRNGKey


@dataclass(frozen=True)
class PerGate(Copyable):
    """An initializer, applied to each gate separately: ``k`` draws ``[..., H]``, concatenated.

    An initializer whose scale depends on the shape, such as those of JAX by variance and the
    orthogonal one, has another scale when it draws all gates as one matrix.

    Args:
      init: initializer of one gate: of a kernel ``[I, H]``, or of a bias ``[H]``.
      gates: the number ``k`` of gate blocks.

    >>> kernel = PerGate(jax.nn.initializers.orthogonal())(jax.random.key(0), (5, 20))
    >>> f = kernel[:, 5:10]
    >>> bool(jnp.allclose(f.T @ f, jnp.eye(5), atol=1e-5))
    True
    """

    init: Initializer
    gates: int = GATES

    def __call__(
        self, key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
    ) -> Float[Array, "... k*H"]:
        """Draw a kernel or a bias.

        Args:
          key: typed random key.
          shape: ``(..., kH)``.
          dtype: dtype of the result.

        Returns:
          The array, of `shape`.

        Raises:
          ValueError: when `shape` is not ``(..., kH)``.
        """
        return _concatenated("PerGate", (self.init,) * self.gates, key, shape, dtype)


@dataclass(frozen=True)
class EachGate(Copyable):
    """A different initializer for each gate, concatenated in the order of the gates.

    Args:
      inits: the initializers, one for each gate block.

    >>> zeros = jax.nn.initializers.zeros
    >>> EachGate((zeros, jax.nn.initializers.ones))(jax.random.key(0), (4,)).tolist()
    [0.0, 0.0, 1.0, 1.0]
    """

    inits: tuple[Initializer, ...]

    def __call__(
        self, key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
    ) -> Float[Array, "... k*H"]:
        """Draw a kernel or a bias.

        Args:
          key: typed random key.
          shape: ``(..., kH)``.
          dtype: dtype of the result.

        Returns:
          The array, of `shape`.

        Raises:
          ValueError: when `shape` is not ``(..., kH)``.
        """
        return _concatenated("EachGate", self.inits, key, shape, dtype)


@dataclass(frozen=True)
class ForgetGateOf(Copyable):
    """The forget gate's part of an initializer of an LSTM's bias ``[4H]``.

    The update gate of a GRU keeps the state as the forget gate of an LSTM does, so it starts with
    the same timescales.

    Args:
      init: initializer of the bias of an LSTM, such as `Chrono`.

    Reference:
      Tallec & Ollivier (2018), *Can recurrent neural networks warp time?*

    >>> ForgetGateOf(ForgetBias(2.0))(jax.random.key(0), (2,)).tolist()
    [2.0, 2.0]
    """

    init: Initializer

    def __call__(
        self, key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
    ) -> Float[Array, " H"]:
        """Draw the bias of one gate.

        Args:
          key: typed random key.
          shape: ``(H,)``.
          dtype: dtype of the result.

        Returns:
          The bias ``[H]``.
        """
        (hidden_size,) = shape
        return self.init(key, (GATES * hidden_size,), dtype)[hidden_size : 2 * hidden_size]


def per_gate(init: Initializer, gates: int = GATES) -> Initializer:
    """`PerGate` of an initializer, unless it already defines how the gates are drawn.

    Args:
      init: any initializer; one wrapped by `functools.wraps` is treated as the inner one.
      gates: the number ``k`` of gate blocks.

    Returns:
      An initializer of kernels ``[I, kH]``, or of biases ``[kH]``.

    >>> per_gate(orthogonal) is orthogonal
    True
    """
    inner = inspect.unwrap(init)
    of_all = isinstance(inner, _TYPES_OF_ALL_GATES) or any(inner is f for f in _OF_ALL_GATES)
    return init if of_all else PerGate(init, gates)


_OF_ALL_GATES = (glorot_uniform, orthogonal, orthogonal_per_gate)
_TYPES_OF_ALL_GATES = (PerGate, EachGate, ForgetBias, Chrono, UniformGate)


def _concatenated(
    name: str, inits: Sequence[Initializer], key: PRNGKey, shape: Sequence[int], dtype: DType
) -> Float[Array, "... k*H"]:
    """One draw for each gate, along the last axis."""
    gates = len(inits)
    if not shape or shape[-1] % gates:
        raise ValueError(f"{name}: shape must be (..., {gates} * H); got {tuple(shape)}")
    block = (*shape[:-1], shape[-1] // gates)
    keys = jax.random.split(key, gates)
    draws = [init(k, block, dtype) for init, k in zip(inits, keys, strict=True)]
    return jnp.concatenate(draws, axis=-1)
