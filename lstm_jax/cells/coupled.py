"""The LSTM with coupled gates: what is forgotten makes room for exactly as much that is new.

    f_t = sigmoid(W_f [h_{t-1}, x_t] + b_f)        forget gate
    i_t = 1 - f_t                                  input gate
    g_t = tanh   (W_g [h_{t-1}, x_t] + b_g)        candidate
    o_t = sigmoid(W_o [h_{t-1}, x_t] + b_o)        output gate
    c_t = f_t * c_{t-1} + i_t * g_t                cell state, a weighted mean: in (-1, 1)
    h_t = o_t * tanh(c_t)                          hidden state

Reference: Greff, Srivastava, Koutník, Steunebrink & Schmidhuber (2017), *LSTM: a search space
odyssey*, where it is called CIFG.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.cell import Activation, LSTMCellBase, identity
from lstm_jax.cells.lstm import LSTMGates
from lstm_jax.types import Initializer, LSTMState, PRNGKey

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
class CoupledLSTM(LSTMCellBase):
    """The LSTM with coupled gates as a cell: ``c_t = f * c_{t-1} + (1 - f) * g``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, 3H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, 3H]``.
      bias_init: initializer of the bias ``[3H]``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
      gate_activation: squashes the gates.
      activation: squashes the candidate, and the cell state on its way out.

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

    def init(self, key: PRNGKey) -> CoupledLSTMParams:
        """Draw parameters.

        Args:
          key: typed random key.

        Returns:
          `CoupledLSTMParams`.
        """
        return CoupledLSTMParams(*self.init_kernels(key, GATES))

    def gates(
        self, params: CoupledLSTMParams, state: LSTMState, x: Float[Array, "... I"]
    ) -> LSTMGates:
        """The gates and the candidate of one step: ``f, o = sigmoid(.)``, ``i = 1 - f``.

        Args:
          params: `CoupledLSTMParams`.
          state: ``(h_{t-1}, c_{t-1})``, each ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          `LSTMGates`, each ``[..., H]``.

        Raises:
          TypeError, ValueError: as `step`.
        """
        return self._checked_gates("CoupledLSTM.gates", params, state, x)[1]

    def step(
        self,
        params: CoupledLSTMParams,
        state: LSTMState,
        x: Float[Array, "... I"],
        *,
        on_candidate: Callable[[jax.Array], jax.Array] = identity,
    ) -> LSTMState:
        """Advance one time step: ``c_t = f * c_{t-1} + (1 - f) * g`` and ``h_t = o * tanh(c_t)``.

        Args:
          params: `CoupledLSTMParams`.
          state: ``(h_{t-1}, c_{t-1})``, each ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.
          on_candidate: applied to ``g`` before it enters the cell state.

        Returns:
          `LSTMState`, each ``[..., H]``, with the dtypes of `state`.

        Raises:
          TypeError: when `state` is not a tuple of two.
          ValueError: when the shapes of `params`, `state` and `x` do not fit together, or their
            batch axes are not equal.
        """
        state, (i, f, g, o) = self._checked_gates("CoupledLSTM.step", params, state, x)
        h_tm1, c_tm1 = state
        c_t = f * c_tm1.astype(f.dtype) + i * on_candidate(g)
        h_t = o * self.activation(c_t)
        return LSTMState(h_t.astype(h_tm1.dtype), c_t.astype(c_tm1.dtype))

    def _checked_gates(
        self, function: str, params: CoupledLSTMParams, state: LSTMState, x: jax.Array
    ) -> tuple[LSTMState, LSTMGates]:
        _, state, z = self.pre_activations(function, params, state, x, gates=GATES)
        z_f, z_g, z_o = z
        f = self.gate_activation(z_f)
        gates = LSTMGates(i=1.0 - f, f=f, g=self.activation(z_g), o=self.gate_activation(z_o))
        return state, gates
