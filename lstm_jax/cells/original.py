"""The LSTM of 1997, without a forget gate: the cell state never decays.

    i_t = sigmoid(W_i [h_{t-1}, x_t] + b_i)        input gate
    g_t = g(W_g [h_{t-1}, x_t] + b_g)              candidate
    o_t = sigmoid(W_o [h_{t-1}, x_t] + b_o)        output gate
    c_t = c_{t-1} + i_t * g_t                      cell state
    h_t = o_t * h(c_t)                             hidden state

The paper's squashing functions are ``g(z) = 4 sigmoid(z) - 2`` and ``h(z) = 2 sigmoid(z) - 1``:
`squash_g` and `squash_h`. The paper truncates gradients where they leave the cell state; here they
are exact. The connections between gates that some of its experiments had are left out.

Reference: Hochreiter & Schmidhuber (1997), *Long short-term memory*.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax.cells.cell import Activation, LSTMCellBase
from lstm_jax.types import LSTMState

GATES = 3
"""Gate blocks of a kernel: i, g, o."""


class OriginalLSTMParams(NamedTuple):
    """Parameters of the LSTM of 1997; gate blocks in the order i, g, o along the last axis.

    Attributes:
      kernel: input kernel ``[I, 3H]``.
      recurrent_kernel: recurrent kernel ``[H, 3H]``.
      bias: bias ``[3H]``.
    """

    kernel: Float[Array, "I 3*H"]
    recurrent_kernel: Float[Array, "H 3*H"]
    bias: Float[Array, " 3*H"]


class OriginalLSTMGates(NamedTuple):
    """The activations inside one step, each ``[..., H]``.

    Attributes:
      i: input gate, in (0, 1).
      g: candidate.
      o: output gate, in (0, 1).
    """

    i: Float[Array, "... H"]
    g: Float[Array, "... H"]
    o: Float[Array, "... H"]


def squash_g(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """The candidate's activation in the paper, in (-2, 2): ``g(z) = 4 sigmoid(z) - 2``.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*.

    >>> squash_g(jnp.array([-100.0, 0.0, 100.0])).tolist()
    [-2.0, 0.0, 2.0]
    """
    # The same function as 4 sigmoid(z) - 2, without the cancellation around zero.
    return 2.0 * jnp.tanh(0.5 * z)


def squash_h(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """The output's activation in the paper, in (-1, 1): ``h(z) = 2 sigmoid(z) - 1``.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*.

    >>> squash_h(jnp.array([-100.0, 0.0, 100.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    return jnp.tanh(0.5 * z)


@dataclass(frozen=True, repr=False)
class OriginalLSTM(LSTMCellBase[OriginalLSTMParams, OriginalLSTMGates]):
    """The LSTM of 1997 as a cell: ``c_t = c_{t-1} + i * g`` and ``h_t = o * tanh(c_t)``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, 3H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, 3H]``.
      bias_init: initializer of the bias ``[3H]``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
      gate_activation: activation of the gates.
      activation: activation of the candidate; `squash_g` in the paper.
      output_activation: activation of the cell state in ``h_t``; `squash_h` in the paper.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*.

    >>> cell = OriginalLSTM(3, 5, activation=squash_g, output_activation=squash_h)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.initial_state((2,)), jnp.ones((2, 3))).h.shape
    (2, 5)
    """

    gate_activation: Activation = jax.nn.sigmoid
    activation: Activation = jnp.tanh
    output_activation: Activation = jnp.tanh

    params_type = OriginalLSTMParams
    gate_blocks = GATES

    def equations(
        self, params: OriginalLSTMParams, z: jax.Array, c_tm1: jax.Array, on_candidate: Activation
    ) -> tuple[LSTMState, OriginalLSTMGates]:
        """``c_t = c_{t-1} + i * g`` and ``h_t = o * tanh(c_t)``."""
        z_i, z_g, z_o = jnp.split(z, GATES, axis=-1)
        i = self.gate_activation(z_i)
        g = self.activation(z_g)
        o = self.gate_activation(z_o)
        c_t = c_tm1 + i * on_candidate(g)
        h_t = o * self.output_activation(c_t)
        return LSTMState(h_t, c_t), OriginalLSTMGates(i, g, o)
