"""Initializers of biases: zeros, the forget-gate bias, and a range of timescales."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.core
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax.types import DType, PRNGKey, promote_dtypes

GATES = 4
"""Gate blocks of an LSTM kernel: i, f, g, o."""


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
    """Bias of `value` in the forget gate and zero elsewhere: ``b_f = value``.

    With a positive bias the forget gate starts open, and gradients reach back about
    ``1 / (1 - sigmoid(value))`` steps: 3.7 for the default of 1.

    Args:
      value: the forget-gate bias, stored in the parameters (nothing is added in the step).
      gate: index of the forget gate's block; 1 in the order i, f, g, o.
      gates: the number ``k`` of gate blocks.

    Raises:
      ValueError: when `value` is not finite, or `gate` is not below `gates`.

    Reference:
      Gers, Schmidhuber & Cummins (2000), *Learning to forget*; Jozefowicz, Zaremba & Sutskever
      (2015), *An empirical exploration of recurrent network architectures* (the value 1).

    >>> ForgetBias(1.0)(jax.random.key(0), (8,)).tolist()  # i, i, f, f, g, g, o, o
    [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """

    value: float = 1.0
    gate: int = 1
    gates: int = GATES

    def __post_init__(self) -> None:
        # A traced value has no number yet: a bias or a range that differs under `vmap`.
        if not isinstance(self.value, jax.core.Tracer) and not math.isfinite(self.value):
            raise ValueError(f"ForgetBias: value must be finite; got {self.value}")
        if not 0 <= self.gate < self.gates:
            raise ValueError(
                f"ForgetBias: gate must be one of the {self.gates} gates, counted from 0;"
                f" got {self.gate}"
            )

    def __repr__(self) -> str:
        place = f", gate={self.gate}, gates={self.gates}"
        default = (self.gate, self.gates) == (1, GATES)
        return f"ForgetBias(value={self.value}{'' if default else place})"

    def __call__(
        self, key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
    ) -> Float[Array, " k*H"]:
        """The bias of ``k`` gates, four in an LSTM.

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
        hidden_size = gate_width("ForgetBias", shape, self.gates)
        start = self.gate * hidden_size
        return jnp.zeros(tuple(shape), dtype).at[start : start + hidden_size].set(self.value)


@dataclass(frozen=True)
class Chrono:
    """Bias that distributes the timescales of the units over all values up to `t_max` steps.

        b_f = log(u),  u ~ U(1, t_max - 1),    b_i = -b_f,    b_g = b_o = 0

    A unit with forget gate ``f`` remembers for about ``1 / (1 - f)`` steps. With this bias that
    timescale is ``1 + u``: uniform on [2, t_max].

    Args:
      t_max: the longest expected dependency, in time steps; at least 2, and finite.

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
        if not isinstance(self.t_max, jax.core.Tracer) and not 2 <= self.t_max < math.inf:
            raise ValueError(
                f"Chrono: t_max must be at least 2 time steps and finite; got {self.t_max}"
            )

    def __call__(
        self, key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
    ) -> Float[Array, " 4*H"]:
        """Draw the bias of an LSTM, with a timescale for each unit.

        Args:
          key: typed random key.
          shape: ``(4H,)``.
          dtype: dtype of the result; drawn in float32 at least, and rounded.

        Returns:
          The bias ``[4H]``.

        Raises:
          ValueError: when `shape` is not ``(4H,)``.
        """
        hidden_size = gate_width("Chrono", shape)
        draw_dtype = promote_dtypes(dtype, jnp.float32)
        u = jax.random.uniform(key, (hidden_size,), draw_dtype, minval=1.0, maxval=self.t_max - 1.0)
        b_f = jnp.log(u)
        zero = jnp.zeros_like(b_f)
        return jnp.concatenate([-b_f, b_f, zero, zero]).astype(dtype)


@dataclass(frozen=True)
class UniformGate:
    """Bias that distributes the forget gates evenly between closed and open.

        b_f = -log(1 / u - 1),  u ~ U(1 / H, 1 - 1 / H),    b_i = -b_f,    b_g = b_o = 0

    With small weights a unit's forget gate starts at its ``u``: half of the units remember for
    less than two steps, and the longest for about ``H``.

    It was proposed for coupled gates, ``i = 1 - f``, which have no ``b_i``: set `coupled` for
    those. Separate gates start as if they were coupled, since ``sigmoid(-b) = 1 - sigmoid(b)``. The
    biases of the output gate and the candidate are zero. The paper's refine gate is part of a cell,
    not of its initializers.

    Args:
      coupled: whether the bias is ``[3H]``, of gates f, g, o, instead of ``[4H]``.

    Reference:
      Gu, Gulcehre, Paine, Hoffman & Pascanu (2020), *Improving the gating mechanism of recurrent
      neural networks*.

    >>> bias = UniformGate()(jax.random.key(0), (4 * 50,))
    >>> i, f = jax.nn.sigmoid(bias[:50]), jax.nn.sigmoid(bias[50:100])
    >>> bool(jnp.allclose(i, 1 - f)), bool(0.02 <= f.min()), bool(f.max() <= 0.98)
    (True, True, True)
    """

    coupled: bool = False

    def __call__(
        self, key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
    ) -> Float[Array, " k*H"]:
        """Draw the bias of an LSTM, with a forget gate for each unit.

        Args:
          key: typed random key.
          shape: ``(4H,)``, or ``(3H,)`` for coupled gates.
          dtype: dtype of the result; drawn in float32 at least, and rounded.

        Returns:
          The bias, of `shape`.

        Raises:
          ValueError: when `shape` is another one, or ``H`` is below 2.
        """
        hidden_size = gate_width("UniformGate", shape, GATES - 1 if self.coupled else GATES)
        if hidden_size < 2:
            raise ValueError(
                "UniformGate: H must be at least 2, as u ~ U(1 / H, 1 - 1 / H);"
                f" got shape {tuple(shape)}"
            )
        draw_dtype, edge = promote_dtypes(dtype, jnp.float32), 1.0 / hidden_size
        u = jax.random.uniform(key, (hidden_size,), draw_dtype, minval=edge, maxval=1.0 - edge)
        b_f = -jnp.log(1.0 / u - 1.0)
        zero = jnp.zeros_like(b_f)
        blocks = [b_f, zero, zero] if self.coupled else [-b_f, b_f, zero, zero]
        return jnp.concatenate(blocks).astype(dtype)


def gate_width(name: str, shape: Sequence[int], gates: int = GATES) -> int:
    """``H`` of the shape ``(kH,)`` of a bias with ``k`` gate blocks.

    Args:
      name: the initializer to name in errors.
      shape: ``(kH,)``.
      gates: the number ``k`` of gate blocks.

    Returns:
      ``H``.

    Raises:
      ValueError: when `shape` is not ``(kH,)``.

    >>> gate_width("ForgetBias", (20,))
    5
    """
    if len(shape) != 1 or shape[0] % gates:
        raise ValueError(f"{name}: shape must be ({gates} * H,); got {tuple(shape)}")
    return shape[0] // gates
