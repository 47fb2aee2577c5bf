"""The LSTM with a refine gate, which moves the forget gate towards 0 or 1: the UR-LSTM.

    f_t = sigmoid(W_f [h_{t-1}, x_t] + b_f)                    forget gate
    r_t = sigmoid(W_r [h_{t-1}, x_t] + b_r)                    refine gate
    e_t = r_t * (1 - (1 - f_t)^2) + (1 - r_t) * f_t^2          effective forget gate
    i_t = 1 - e_t                                              input gate
    g_t = tanh   (W_g [h_{t-1}, x_t] + b_g)                    candidate
    o_t = sigmoid(W_o [h_{t-1}, x_t] + b_o)                    output gate
    c_t = e_t * c_{t-1} + i_t * g_t                            cell state, a weighted mean
    h_t = o_t * tanh(c_t)                                      hidden state

A gate close to 1 has a small gradient, so that it is slow to learn. The effective gate lies in the
band between ``f^2`` and ``1 - (1 - f)^2``: it comes close to 0 and 1 while `f` does not.

The paper calls the effective gate g. Its refine gate has the bias ``-b_f``, one parameter for both;
here b_r is a parameter of its own, which starts at ``-b_f`` with `UniformGate`.

Reference: Gu, Gulcehre, Paine, Hoffman & Pascanu (2020), *Improving the gating mechanism of
recurrent neural networks*.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.cell import Activation, LSTMCellBase
from lstm_jax.types import Initializer, LSTMState


class RefinedLSTMParams(NamedTuple):
    """Parameters of the LSTM with a refine gate; blocks in the order r, f, g, o on the last axis.

    Attributes:
      kernel: input kernel ``[I, 4H]``.
      recurrent_kernel: recurrent kernel ``[H, 4H]``.
      bias: bias ``[4H]``.
    """

    kernel: Float[Array, "I 4*H"]
    recurrent_kernel: Float[Array, "H 4*H"]
    bias: Float[Array, " 4*H"]


class RefinedLSTMGates(NamedTuple):
    """The activations inside one step, each ``[..., H]``.

    Attributes:
      r: refine gate, in (0, 1).
      f: forget gate, in (0, 1).
      e: effective forget gate, between ``f^2`` and ``1 - (1 - f)^2``.
      i: input gate, ``1 - e``.
      g: candidate, in (-1, 1).
      o: output gate, in (0, 1).
    """

    r: Float[Array, "... H"]
    f: Float[Array, "... H"]
    e: Float[Array, "... H"]
    i: Float[Array, "... H"]
    g: Float[Array, "... H"]
    o: Float[Array, "... H"]


@dataclass(frozen=True, repr=False)
class RefinedLSTM(LSTMCellBase[RefinedLSTMParams, RefinedLSTMGates]):
    """The LSTM with a refine gate as a cell: ``c_t = e * c_{t-1} + (1 - e) * g``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, 4H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, 4H]``.
      bias_init: initializer of the bias ``[4H]``; `UniformGate` for the UR-LSTM. The refine gate is
        where an LSTM has its input gate, so that `UniformGate` and `Chrono` give ``b_r = -b_f``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
      gate_activation: activation of the gates.
      activation: activation of the candidate, and of the cell state in ``h_t``.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    Reference:
      Gu, Gulcehre, Paine, Hoffman & Pascanu (2020), *Improving the gating mechanism of recurrent
      neural networks*.

    >>> cell = RefinedLSTM(input_size=3, hidden_size=5, bias_init=initializers.UniformGate())
    >>> params = cell.init(jax.random.key(0))
    >>> bool(jnp.all(params.bias[:5] == -params.bias[5:10]))  # b_r and b_f
    True
    >>> cell.step(params, cell.initial_state((2,)), jnp.ones((2, 3))).h.shape
    (2, 5)
    """

    bias_init: Initializer = initializers.ForgetBias(1.0)
    gate_activation: Activation = jax.nn.sigmoid
    activation: Activation = jnp.tanh

    params_type = RefinedLSTMParams

    def equations(
        self, params: RefinedLSTMParams, z: jax.Array, c_tm1: jax.Array, on_candidate: Activation
    ) -> tuple[LSTMState, RefinedLSTMGates]:
        """``e = r (1 - (1 - f)^2) + (1 - r) f^2``, ``i = 1 - e``, ``c_t = e * c_{t-1} + i * g``."""
        z_r, z_f, z_g, z_o = jnp.split(z, self.gate_blocks, axis=-1)
        r = self.gate_activation(z_r)
        f = self.gate_activation(z_f)
        e = r * (1.0 - jnp.square(1.0 - f)) + (1.0 - r) * jnp.square(f)
        i = 1.0 - e
        g = self.activation(z_g)
        o = self.gate_activation(z_o)
        c_t = e * c_tm1 + i * on_candidate(g)
        h_t = o * self.activation(c_t)
        return LSTMState(h_t, c_t), RefinedLSTMGates(r, f, e, i, g, o)
