"""The LSTM with coupled gates: the input gate is ``1 - f``.

    f_t = sigmoid(W_f [h_{t-1}, x_t] + b_f)        forget gate
    i_t = 1 - f_t                                  input gate
    g_t = tanh   (W_g [h_{t-1}, x_t] + b_g)        candidate
    o_t = sigmoid(W_o [h_{t-1}, x_t] + b_o)        output gate
    c_t = f_t * c_{t-1} + i_t * g_t                cell state, a weighted mean: in (-1, 1)
    h_t = o_t * tanh(c_t)                          hidden state

Reference: Greff, Srivastava, Koutník, Steunebrink & Schmidhuber (2017), *LSTM: a search space
odyssey*, where it is called CIFG.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.cell import Activation, LSTMCellBase
from lstm_jax.cells.lstm import LSTMGates
from lstm_jax.types import Initializer, LSTMState

GATES = 3
"""Gate blocks of a kernel: f, g, o."""


class CoupledLSTMParams(NamedTuple):
    """Parameters of the LSTM with coupled gates; blocks in the order f, g, o along the last axis.

    Attributes:
      kernel: input kernel ``[I, 3H]``.
      recurrent_kernel: recurrent kernel ``[H, 3H]``.
      bias: bias ``[3H]``, the forget-gate bias included.
    """

    kernel: Float[Array, "I 3*H"]
    recurrent_kernel: Float[Array, "H 3*H"]
    bias: Float[Array, " 3*H"]


@dataclass(frozen=True, repr=False)
class CoupledLSTM(LSTMCellBase[CoupledLSTMParams, LSTMGates]):
    """The LSTM with coupled gates as a cell: ``c_t = f * c_{t-1} + (1 - f) * g``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, 3H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, 3H]``.
      bias_init: initializer of the bias ``[3H]``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
      gate_activation: activation of the gates.
      activation: activation of the candidate, and of the cell state in ``h_t``.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    Reference:
      Greff, Srivastava, Koutník, Steunebrink & Schmidhuber (2017), *LSTM: a search space odyssey*.

    >>> cell = CoupledLSTM(input_size=3, hidden_size=5)
    >>> params = cell.init(jax.random.key(0))
    >>> params.bias[:5].tolist()  # of the forget gate
    [1.0, 1.0, 1.0, 1.0, 1.0]
    >>> cell.step(params, cell.initial_state((2,)), jnp.ones((2, 3))).h.shape
    (2, 5)
    """

    bias_init: Initializer = initializers.ForgetBias(1.0, gate=0, gates=GATES)
    gate_activation: Activation = jax.nn.sigmoid
    activation: Activation = jnp.tanh

    params_type = CoupledLSTMParams
    gate_blocks = GATES

    def equations(
        self, params: CoupledLSTMParams, z: jax.Array, c_tm1: jax.Array, on_candidate: Activation
    ) -> tuple[LSTMState, LSTMGates]:
        """``i = 1 - f``, ``c_t = f * c_{t-1} + i * g`` and ``h_t = o * tanh(c_t)``."""
        z_f, z_g, z_o = jnp.split(z, GATES, axis=-1)
        f = self.gate_activation(z_f)
        i = 1.0 - f
        g = self.activation(z_g)
        o = self.gate_activation(z_o)
        c_t = f * c_tm1 + i * on_candidate(g)
        h_t = o * self.activation(c_t)
        return LSTMState(h_t, c_t), LSTMGates(i, f, g, o)
