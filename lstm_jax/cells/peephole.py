"""The LSTM with peepholes: its gates read the cell state as well as the hidden state.

    i_t = sigmoid(W_i [h_{t-1}, x_t] + p_i * c_{t-1} + b_i)        input gate
    f_t = sigmoid(W_f [h_{t-1}, x_t] + p_f * c_{t-1} + b_f)        forget gate
    g_t = tanh   (W_g [h_{t-1}, x_t] + b_g)                        candidate
    c_t = f_t * c_{t-1} + i_t * g_t                                cell state
    o_t = sigmoid(W_o [h_{t-1}, x_t] + p_o * c_t + b_o)            output gate
    h_t = o_t * tanh(c_t)                                          hidden state

The output gate reads the new cell state, so it is computed last. A peephole is one weight per unit.

Reference: Gers & Schmidhuber (2000), *Recurrent nets that time and count*; Gers, Schraudolph &
Schmidhuber (2002), *Learning precise timing with LSTM recurrent networks*.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.arguments import Shapes
from lstm_jax.cells.cell import Activation, LSTMCellBase, over_rows
from lstm_jax.cells.lstm import LSTMGates
from lstm_jax.types import Initializer, LSTMState, PRNGKey

PEEPHOLES = 3
"""Blocks of the peephole weights: i, f, o."""


class PeepholeLSTMParams(NamedTuple):
    """Parameters of the LSTM with peepholes; gate blocks in the order i, f, g, o, as in the LSTM.

    Attributes:
      kernel: input kernel ``[I, 4H]``.
      recurrent_kernel: recurrent kernel ``[H, 4H]``.
      bias: bias ``[4H]``, the forget-gate bias included.
      peephole: weights from each unit's cell state to its gates ``[3H]``, blocks i, f, o.
    """

    kernel: Float[Array, "I 4*H"]
    recurrent_kernel: Float[Array, "H 4*H"]
    bias: Float[Array, " 4*H"]
    peephole: Float[Array, " 3*H"]


@dataclass(frozen=True, repr=False)
class PeepholeLSTM(LSTMCellBase[PeepholeLSTMParams, LSTMGates]):
    """The LSTM with peepholes as a cell: i and f read ``c_{t-1}``, o reads ``c_t``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, 4H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, 4H]``.
      bias_init: initializer of the bias ``[4H]``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
      gate_activation: activation of the gates.
      activation: activation of the candidate, and of the cell state in ``h_t``.
      peephole_init: initializer of the peephole weights ``[3H]``. With zeros training starts from
        the plain LSTM.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    Reference:
      Gers, Schraudolph & Schmidhuber (2002), *Learning precise timing with LSTM recurrent
      networks*.

    >>> cell = PeepholeLSTM(input_size=3, hidden_size=5)
    >>> params = cell.init(jax.random.key(0))
    >>> params.peephole.shape
    (15,)
    >>> cell.step(params, cell.initial_state((2,)), jnp.ones((2, 3))).h.shape
    (2, 5)
    """

    bias_init: Initializer = initializers.ForgetBias(1.0)
    gate_activation: Activation = jax.nn.sigmoid
    activation: Activation = jnp.tanh
    peephole_init: Initializer = initializers.zeros

    params_type = PeepholeLSTMParams

    def equations(
        self, params: PeepholeLSTMParams, z: jax.Array, c_tm1: jax.Array, on_candidate: Activation
    ) -> tuple[LSTMState, LSTMGates]:
        """As the LSTM, with ``p_i * c_{t-1}``, ``p_f * c_{t-1}`` and ``p_o * c_t`` in the gates."""
        z_i, z_f, z_g, z_o = jnp.split(z, self.gate_blocks, axis=-1)
        p_i, p_f, p_o = jnp.split(over_rows(params.peephole, z), PEEPHOLES, axis=-1)
        i = self.gate_activation(z_i + p_i * c_tm1)
        f = self.gate_activation(z_f + p_f * c_tm1)
        g = self.activation(z_g)
        c_t = f * c_tm1 + i * on_candidate(g)
        o = self.gate_activation(z_o + p_o * c_t)
        h_t = o * self.activation(c_t)
        return LSTMState(h_t, c_t), LSTMGates(i, f, g, o)

    def shapes(self, params: PeepholeLSTMParams) -> Shapes:
        """The shapes that a step expects."""
        shapes = super().shapes(params)
        (H,), _ = shapes.state["c"]
        return shapes._replace(params={**shapes.params, "peephole": ((PEEPHOLES * H,), "[3H]")})

    def _init(self, key: PRNGKey) -> PeepholeLSTMParams:
        k_kernels, k_peephole = jax.random.split(key)
        shape = (PEEPHOLES * self.hidden_size,)
        peephole = self.peephole_init(k_peephole, shape, self.policy.param)
        return PeepholeLSTMParams(*self._init_kernels(k_kernels), peephole)
