"""Exponential gates of the sLSTM and the mLSTM: stabilised, with open forget gates at the start.

Reference: Beck et al. (2024), *xLSTM: Extended long short-term memory*.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lstm_jax import initializers
from lstm_jax.initializers.biases import gate_width
from lstm_jax.types import DType, PRNGKey, check_size, promote_dtypes

ForgetGate = Literal["sigmoid", "exp"]
"""The activation of the forget gate."""


def stabilise(
    log_i: Float[Array, "..."],
    log_f: Float[Array, "..."],
    m_tm1: Float[Array, "..."],
    empty: Bool[Array, "..."],
) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """Gates for a memory that is stored divided by ``exp(m)``, so that neither overflows.

        m_t = max(log f_t + m_{t-1}, log i_t), or log i_t where the memory is empty
        i'_t = exp(log i_t - m_t),    f'_t = exp(log f_t + m_{t-1} - m_t)

    Args:
      log_i: logarithm of the input gate ``[...]``.
      log_f: logarithm of the forget gate ``[...]``.
      m_tm1: stabiliser ``m_{t-1}`` ``[...]``, from the state.
      empty: true where the memory is still empty, so that ``m_{t-1}`` has no meaning.

    Returns:
      ``(i'_t, f'_t, m_t)``, each ``[...]``. One of the two gates is 1 and the other at most 1,
      except for ``f'_t`` where the memory is empty.

    Reference:
      Beck et al. (2024), *xLSTM: Extended long short-term memory*.

    >>> i, f, m = stabilise(jnp.array(200.0), jnp.array(-1.0), jnp.array(3.0), jnp.array(False))
    >>> i.item(), f.item(), m.item()
    (1.0, 0.0, 200.0)
    """
    kept = log_f + m_tm1.astype(log_f.dtype)
    m_t = jnp.where(empty, log_i, jnp.maximum(kept, log_i))
    to_f = kept - m_t
    # f' is above 1 only where the memory is empty. It multiplies zero there and must be finite. It
    # is also a factor of the gradient with respect to that memory, so it is exact up to the bound.
    bound = largest_exponent(to_f.dtype)
    return jnp.exp(log_i - m_t), jnp.exp(jnp.where(to_f > bound, bound, to_f)), m_t


def log_forget(kind: ForgetGate, z: Float[Array, "..."]) -> Float[Array, "..."]:
    """The logarithm of a forget gate: ``log sigmoid(z)`` or ``log exp(z) = z``.

    >>> float(log_forget("sigmoid", jnp.array(-200.0)))  # the sigmoid underflows to zero
    -200.0
    """
    return z if kind == "exp" else jax.nn.log_sigmoid(z)


def check_forget_gate(function: str, kind: str) -> None:
    """Raise unless `kind` is one of the forget gates.

    >>> check_forget_gate("SLSTM", "relu")
    Traceback (most recent call last):
    ValueError: SLSTM: forget_gate must be 'sigmoid' or 'exp'; got 'relu'
    """
    if kind not in ("sigmoid", "exp"):
        raise ValueError(f"{function}: forget_gate must be 'sigmoid' or 'exp'; got {kind!r}")


def largest_exponent(dtype: DType) -> float:
    """An exponent whose exponential is large, but can still be multiplied without overflow.

    >>> round(largest_exponent(jnp.float32))
    67
    """
    return 0.75 * math.log(float(jnp.finfo(dtype).max))


@dataclass(frozen=True)
class ForgetBiasRange:
    """Bias of the forget gate spread evenly from `low` to `high`; zero elsewhere.

    With a sigmoid the default gives timescales ``1 / (1 - f)`` from 21 to 404 steps.

    Args:
      low: the first unit's forget-gate bias.
      high: the last unit's forget-gate bias.
      gate: index of the forget gate's block.
      gates: the number ``k`` of gate blocks.

    Raises:
      ValueError: when `low` or `high` is not finite.

    Reference:
      Beck et al. (2024), *xLSTM: Extended long short-term memory*.

    >>> ForgetBiasRange(3.0, 6.0)(jax.random.key(0), (8,)).tolist()  # i, i, f, f, z, z, o, o
    [0.0, 0.0, 3.0, 6.0, 0.0, 0.0, 0.0, 0.0]
    """

    low: float = 3.0
    high: float = 6.0
    gate: int = 1
    gates: int = initializers.GATES

    def __post_init__(self) -> None:
        for name, value in (("low", self.low), ("high", self.high)):
            if not math.isfinite(value):
                raise ValueError(f"ForgetBiasRange: {name} must be finite; got {value}")

    def __call__(
        self, key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
    ) -> Float[Array, " k*H"]:
        """The bias of ``k`` gates.

        Args:
          key: not used.
          shape: ``(kH,)``.
          dtype: dtype of the result.

        Returns:
          The bias ``[kH]``.

        Raises:
          ValueError: when `shape` is not ``(kH,)``.
        """
        del key
        hidden_size = gate_width("ForgetBiasRange", shape, self.gates)
        spread = jnp.linspace(
            self.low, self.high, hidden_size, dtype=promote_dtypes(dtype, jnp.float32)
        )
        start = self.gate * hidden_size
        bias = jnp.zeros(tuple(shape), dtype)
        return bias.at[start : start + hidden_size].set(spread.astype(dtype))


def check_heads(function: str, num_heads: Any, hidden_size: int) -> None:
    """Raise unless the hidden units can be divided evenly among the heads.

    Args:
      function: the public function to name in errors.
      num_heads: number of heads ``N``.
      hidden_size: number of hidden units ``H``.

    Raises:
      TypeError: when `num_heads` is not an integer.
      ValueError: when it is below 1, or does not divide `hidden_size`.

    >>> check_heads("SLSTM", 3, 8)
    Traceback (most recent call last):
    ValueError: SLSTM: num_heads must divide hidden_size = 8; got 3
    """
    check_size(function, "num_heads", num_heads)
    if hidden_size % num_heads:
        raise ValueError(
            f"{function}: num_heads must divide hidden_size = {hidden_size}; got {num_heads}"
        )
