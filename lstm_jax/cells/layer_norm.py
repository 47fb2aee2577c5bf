"""The LSTM with layer normalization, in four variants named after their sources.

With ``LN(z) = (z - mean(z)) / sqrt(var(z) + epsilon)`` over the last axis:

    ba2016       z = LN(W x) * a_x + b_x + LN(R h) * a_h + b_h + b          LN over all 4H
                 c_t = f * c_{t-1} + i * g,     h_t = o * tanh(LN(c_t) * a_c + b_c)
    haste        as ba2016, without b_x and b_h
    pytorch      z = LN(W x) * a_x + b_x + LN(R h) * a_h + b_h              LN over all 4H
                 c_t = LN(f * c_{t-1} + i * g) * a_c + b_c,     h_t = o * tanh(c_t)
    tensorflow   z = LN(W x + R h) * a + b                                  LN over each gate's H
                 c_t = LN(f * c_{t-1} + i * g) * a_c + b_c,     h_t = o * tanh(c_t)

The first two normalize the cell state only where it enters ``h_t``; the last two store it
normalized. The gate blocks are i, f, g, o in all variants, whatever the order in the source.

Reference: Ba, Kiros & Hinton (2016), *Layer normalization*. The other sources are Haste's
``LayerNormLSTM``, the TorchScript ``LayerNormLSTMCell`` of PyTorch's benchmarks, and
``tf.contrib.rnn.LayerNormBasicLSTMCell``.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.arguments import Shapes
from lstm_jax.cells.cell import Activation, LSTMCellBase, over_rows, project
from lstm_jax.cells.lstm import LSTMGates
from lstm_jax.initializers import GATES
from lstm_jax.types import DType, Initializer, LSTMState, PRNGKey, promote_dtypes

Variant = Literal["ba2016", "haste", "pytorch", "tensorflow"]
"""The names of the variants."""


class LayerNormLSTMParams(NamedTuple):
    """Parameters of the LSTM with layer normalization; gate blocks in the order i, f, g, o.

    Attributes:
      kernel: input kernel ``[I, 4H]``.
      recurrent_kernel: recurrent kernel ``[H, 4H]``.
      cell_gain: gain of the norm of the cell state ``[H]``.
      cell_bias: bias of the norm of the cell state ``[H]``.
      bias: bias of the gates ``[4H]``, the forget-gate bias included; None for ``pytorch``. It is
        the bias of the gates' norms for ``tensorflow``.
      gate_gain: gain of the norms of the gates ``[4H]``; for ``tensorflow`` alone.
      input_gain: gain of the norm of ``W x`` ``[4H]``; None for ``tensorflow``.
      recurrent_gain: gain of the norm of ``R h`` ``[4H]``; None for ``tensorflow``.
      input_bias: bias of the norm of ``W x`` ``[4H]``; for ``ba2016`` and ``pytorch``.
      recurrent_bias: bias of the norm of ``R h`` ``[4H]``; for ``ba2016`` and ``pytorch``.
    """

    kernel: Float[Array, "I 4*H"]
    recurrent_kernel: Float[Array, "H 4*H"]
    cell_gain: Float[Array, " H"]
    cell_bias: Float[Array, " H"]
    bias: Float[Array, " 4*H"] | None = None
    gate_gain: Float[Array, " 4*H"] | None = None
    input_gain: Float[Array, " 4*H"] | None = None
    recurrent_gain: Float[Array, " 4*H"] | None = None
    input_bias: Float[Array, " 4*H"] | None = None
    recurrent_bias: Float[Array, " 4*H"] | None = None


class _Source(NamedTuple):
    """The differences of a variant: its parameters ``[4H]``, and which cell state it stores."""

    fields: tuple[str, ...]
    stores_normalized: bool
    epsilon: float


_TWO_NORMS = ("input_gain", "recurrent_gain")
_SOURCES: dict[str, _Source] = {
    "ba2016": _Source(("bias", *_TWO_NORMS, "input_bias", "recurrent_bias"), False, 1e-5),
    "haste": _Source(("bias", *_TWO_NORMS), False, 1e-5),
    "pytorch": _Source((*_TWO_NORMS, "input_bias", "recurrent_bias"), True, 1e-5),
    "tensorflow": _Source(("bias", "gate_gain"), True, 1e-12),
}


def layer_norm(
    z: Float[Array, "... n"],
    gain: Float[Array, " n"] | None = None,
    bias: Float[Array, " n"] | None = None,
    *,
    epsilon: float = 1e-5,
) -> Float[Array, "... n"]:
    """Normalize the last axis: ``(z - mean(z)) / sqrt(var(z) + epsilon) * gain + bias``.

    Computed in float32 at least, as sums of squares overflow in float16.

    Args:
      z: numbers ``[..., n]``.
      gain: gain ``[n]``; one when not given.
      bias: bias ``[n]``; zero when not given.
      epsilon: added to the variance, which is without Bessel's correction.

    Returns:
      ``[..., n]`` in the dtype of `z`.

    Reference:
      Ba, Kiros & Hinton (2016), *Layer normalization*.

    >>> layer_norm(jnp.array([1.0, 3.0]), epsilon=1e-12).tolist()
    [-1.0, 1.0]
    """
    dtype = promote_dtypes(z.dtype, jnp.float32)
    centered = z.astype(dtype) - jnp.mean(z.astype(dtype), axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centered), axis=-1, keepdims=True)
    normalized = centered * jax.lax.rsqrt(variance + epsilon)
    if gain is not None:
        normalized = normalized * over_rows(gain, normalized)
    if bias is not None:
        normalized = normalized + over_rows(bias, normalized)
    return normalized.astype(z.dtype)


@dataclass(frozen=True, repr=False)
class LayerNormLSTM(LSTMCellBase[LayerNormLSTMParams, LSTMGates]):
    """The LSTM with layer normalization as a cell, in one of four variants.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, 4H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, 4H]``.
      bias_init: initializer of the bias of the gates ``[4H]``; of ``input_bias`` for ``pytorch``,
        which has only the biases of its norms.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
      variant: ``"ba2016"``, ``"haste"``, ``"pytorch"`` or ``"tensorflow"``.
      epsilon: added to a variance. By default as in the source: 1e-12 for ``tensorflow`` (which
        has 1e-3 in float16; norms here are computed in float32 at least), 1e-5 for the others (the
        paper itself has none; its authors' code does).
      gate_activation: activation of the gates.
      activation: activation of the candidate, and of the cell state in ``h_t``.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1, `variant` is none of the four, or `epsilon` is not
        positive and finite.

    Reference:
      Ba, Kiros & Hinton (2016), *Layer normalization*.

    >>> cell = LayerNormLSTM(input_size=3, hidden_size=5, variant="haste")
    >>> params = cell.init(jax.random.key(0))
    >>> params.input_bias is None
    True
    >>> cell.step(params, cell.initial_state((2,)), jnp.ones((2, 3))).h.shape
    (2, 5)
    """

    bias_init: Initializer = initializers.ForgetBias(1.0)
    variant: Variant = "ba2016"
    epsilon: float | None = None
    gate_activation: Activation = jax.nn.sigmoid
    activation: Activation = jnp.tanh

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant not in _SOURCES:
            raise ValueError(
                f"LayerNormLSTM: variant must be one of {', '.join(map(repr, _SOURCES))};"
                f" got {self.variant!r}"
            )
        # Without it the first step, where h is zero, would divide zero by zero.
        if self.epsilon is not None and not 0 < self.epsilon < math.inf:
            raise ValueError(
                f"LayerNormLSTM: epsilon must be above 0 and finite; got {self.epsilon}"
            )
        if self.epsilon == self._source.epsilon:  # one form, so that equal cells compare equal
            object.__setattr__(self, "epsilon", None)

    params_type = LayerNormLSTMParams

    def pre_activations(
        self, params: Any, h_tm1: Float[Array, "... H"], x: Float[Array, "... I"], dtype: DType
    ) -> Float[Array, "... 4*H"]:
        """The normalized pre-activations ``z_t`` of the variant."""
        dtype = promote_dtypes(params.kernel.dtype, dtype)
        from_x = project(x, params.kernel, dtype)
        from_h = project(h_tm1, params.recurrent_kernel, dtype)
        if params.gate_gain is not None:
            by_gate = (jnp.split(z, GATES, axis=-1) for z in (from_x + from_h, params.gate_gain))
            z = jnp.concatenate([self._norm(*block) for block in zip(*by_gate, strict=True)], -1)
        else:
            z = self._norm(from_x, params.input_gain, params.input_bias)
            z = z + self._norm(from_h, params.recurrent_gain, params.recurrent_bias)
        return z if params.bias is None else z + over_rows(params.bias, z)

    def equations(
        self, params: LayerNormLSTMParams, z: jax.Array, c_tm1: jax.Array, on_candidate: Activation
    ) -> tuple[LSTMState, LSTMGates]:
        """As the LSTM, with ``h_t = o * tanh(LN(c_t))``; some variants store ``LN(c_t)``."""
        z_i, z_f, z_g, z_o = jnp.split(z, GATES, axis=-1)
        i = self.gate_activation(z_i)
        f = self.gate_activation(z_f)
        g = self.activation(z_g)
        o = self.gate_activation(z_o)
        c_t = f * c_tm1 + i * on_candidate(g)
        normalized = self._norm(c_t, params.cell_gain, params.cell_bias)
        h_t = o * self.activation(normalized)
        if self._source.stores_normalized:
            c_t = normalized
        return LSTMState(h_t, c_t), LSTMGates(i, f, g, o)

    def shapes(self, params: LayerNormLSTMParams) -> Shapes:
        """The shapes that a step expects, from the sizes and the variant of the cell."""
        I, H = self.input_size, self.hidden_size  # noqa: E741
        shapes = {
            "kernel": ((I, 4 * H), "[I, 4H]"),
            "recurrent_kernel": ((H, 4 * H), "[H, 4H]"),
            "cell_gain": ((H,), "[H]"),
            "cell_bias": ((H,), "[H]"),
        }
        for name in LayerNormLSTMParams._field_defaults:
            shapes[name] = ((4 * H,) if name in self._source.fields else None, "[4H]")
        return Shapes(
            params=shapes,
            x=((I,), "I"),
            state={"h": ((H,), "H"), "c": ((H,), "H")},
            sizes=f"I = {I}, H = {H}, variant = {self.variant!r}",
        )

    def _init(self, key: PRNGKey) -> LayerNormLSTMParams:
        """Gains are ones; biases of norms are zeros, except the one drawn by `bias_init`."""
        kernel, recurrent_kernel, bias = self._init_kernels(key)
        of_gates = {
            name: jnp.ones_like(bias) if name.endswith("_gain") else jnp.zeros_like(bias)
            for name in self._source.fields
        }
        of_gates["bias" if "bias" in of_gates else "input_bias"] = bias
        dtype = self.policy.param
        return LayerNormLSTMParams(
            kernel,
            recurrent_kernel,
            cell_gain=jnp.ones(self.hidden_size, dtype),
            cell_bias=jnp.zeros(self.hidden_size, dtype),
            **of_gates,
        )

    @property
    def _source(self) -> _Source:
        return _SOURCES[self.variant]

    def _norm(
        self, z: jax.Array, gain: jax.Array | None, bias: jax.Array | None = None
    ) -> jax.Array:
        epsilon = self._source.epsilon if self.epsilon is None else self.epsilon
        return layer_norm(z, gain, bias, epsilon=epsilon)
