"""How parameters start: kernels, the forget-gate bias, and timescales spread by *chrono*.

Every initializer is called as ``(key, shape, dtype) -> array``, the protocol of
`jax.nn.initializers`, so theirs and ours are interchangeable. Those with a setting are frozen
dataclasses: they print, compare and hash, and a cell that holds one stays a valid static
argument of `jax.jit`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import initializers as jax_initializers
from jaxtyping import Array, Float

from lstm_jax.types import DType, PRNGKey, wider

GATES = 4
"""Gate blocks of an LSTM kernel: i, f, g, o."""


def lecun_normal(
    key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
) -> Float[Array, "I 4*H"]:
    """Truncated normal with variance ``1 / I``, so that pre-activations keep the input's scale.

    Only the fan-in enters, so drawing the four gates together or one by one is the same.

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
    return jax_initializers.lecun_normal()(key, tuple(shape), dtype)


def orthogonal_per_gate(
    key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
) -> Float[Array, "H k*H"]:
    """A square orthogonal block for each gate: ``W_k^T W_k = I`` for every ``k``.

    One orthogonal draw of the whole ``[H, 4H]`` would shrink each gate's block to half the scale.
    Low-precision dtypes are drawn in float32 and rounded, since QR needs the precision.

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
    draw_dtype = wider(dtype, jnp.float32)
    keys = jax.random.split(key, width // hidden_size)
    orthogonal = jax_initializers.orthogonal()
    blocks = [orthogonal(k, (hidden_size, hidden_size), draw_dtype) for k in keys]
    return jnp.concatenate(blocks, axis=1).astype(dtype)


def zeros(key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32) -> Float[Array, "..."]:
    """Zeros of any shape.

    Args:
      key: not used.
      shape: any shape.
      dtype: dtype of the result.

    Returns:
      Zeros of `shape`.

    >>> zeros(jax.random.key(0), (2,)).tolist()
    [0.0, 0.0]
    """
    del key
    return jnp.zeros(tuple(shape), dtype)


@dataclass(frozen=True)
class ForgetBias:
    """Bias that is `value` in the forget gate and zero elsewhere: ``b_f = value``.

    A positive bias opens the forget gate at the start, so gradients reach back
    ``1 / (1 - sigmoid(value))`` steps: 3.7 for the default of 1.

    Args:
      value: the forget-gate bias, stored in the parameters (nothing is added at call time).

    Raises:
      ValueError: when `value` is not finite.

    Reference:
      Gers, Schmidhuber & Cummins (2000), *Learning to forget*; Jozefowicz, Zaremba & Sutskever
      (2015), *An empirical exploration of recurrent network architectures* (the value 1).

    >>> ForgetBias(1.0)(jax.random.key(0), (8,)).tolist()  # i, i, f, f, g, g, o, o
    [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """

    value: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"ForgetBias: value must be finite; got {self.value}")

    def __call__(
        self, key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
    ) -> Float[Array, " 4*H"]:
        """The bias of an LSTM.

        Args:
          key: not used.
          shape: ``(4H,)``.
          dtype: dtype of the result.

        Returns:
          The bias ``[4H]``.

        Raises:
          ValueError: when `shape` is not ``(4H,)``.
        """
        del key
        hidden_size = _gate_width("ForgetBias", shape)
        bias = jnp.zeros(tuple(shape), dtype)
        return bias.at[hidden_size : 2 * hidden_size].set(self.value)


@dataclass(frozen=True)
class Chrono:
    """Bias that spreads the units' memory over all timescales up to `t_max` steps.

        b_f = log(u),  u ~ U(1, t_max - 1),    b_i = -b_f,    b_g = b_o = 0

    A unit with forget gate ``f`` remembers for about ``1 / (1 - f)`` steps. With this bias that
    timescale is ``1 + u``: uniform on [2, t_max].

    Args:
      t_max: the longest dependency to expect, in time steps; at least 2, and finite.

    Raises:
      ValueError: when `t_max` is below 2 or not finite.

    Reference:
      Tallec & Ollivier (2018), *Can recurrent neural networks warp time?*

    >>> bias = Chrono(t_max=100)(jax.random.key(0), (4 * 50,))
    >>> b_i, b_f = bias[:50], bias[50:100]
    >>> bool(jnp.all(b_i == -b_f)), bool(b_f.min() >= 0), bool(b_f.max() <= jnp.log(99.0))
    (True, True, True)
    """

    t_max: float

    def __post_init__(self) -> None:
        if not 2 <= self.t_max < math.inf:
            raise ValueError(
                f"Chrono: t_max must be at least 2 time steps and finite; got {self.t_max}"
            )

    def __call__(
        self, key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
    ) -> Float[Array, " 4*H"]:
        """Draw the bias of an LSTM, a timescale for each unit.

        Args:
          key: typed random key.
          shape: ``(4H,)``.
          dtype: dtype of the result; drawn in float32 at least, and rounded.

        Returns:
          The bias ``[4H]``.

        Raises:
          ValueError: when `shape` is not ``(4H,)``.
        """
        hidden_size = _gate_width("Chrono", shape)
        draw_dtype = wider(dtype, jnp.float32)
        u = jax.random.uniform(key, (hidden_size,), draw_dtype, minval=1.0, maxval=self.t_max - 1.0)
        b_f = jnp.log(u)
        rest = jnp.zeros_like(b_f)
        return jnp.concatenate([-b_f, b_f, rest, rest]).astype(dtype)


def _gate_width(name: str, shape: Sequence[int]) -> int:
    """H of a bias shape ``(4H,)``."""
    if len(shape) != 1 or shape[0] % GATES:
        raise ValueError(f"{name}: shape must be (4 * H,); got {tuple(shape)}")
    return shape[0] // GATES
