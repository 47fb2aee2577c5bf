"""The LSTM with peepholes: its gates see the cell state, not only what the output gate lets out.

    i_t = sigmoid(W_i [h_{t-1}, x_t] + p_i * c_{t-1} + b_i)        input gate
    f_t = sigmoid(W_f [h_{t-1}, x_t] + p_f * c_{t-1} + b_f)        forget gate
    g_t = tanh   (W_g [h_{t-1}, x_t] + b_g)                        candidate
    c_t = f_t * c_{t-1} + i_t * g_t                                cell state
    o_t = sigmoid(W_o [h_{t-1}, x_t] + p_o * c_t + b_o)            output gate
    h_t = o_t * tanh(c_t)                                          hidden state

The output gate looks at the new cell state, so it comes after it. A peephole is one weight a unit.

Reference: Gers & Schmidhuber (2000), *Recurrent nets that time and count*; Gers, Schraudolph &
Schmidhuber (2002), *Learning precise timing with LSTM recurrent networks*.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.cell import Activation, LSTMCellBase, identity
from lstm_jax.cells.checks import check_params
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
class PeepholeLSTM(LSTMCellBase):
    """The LSTM with peepholes as a cell: i and f look at ``c_{t-1}``, o looks at ``c_t``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, 4H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, 4H]``.
      bias_init: initializer of the bias ``[4H]``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
      gate_activation: squashes the gates.
      activation: squashes the candidate, and the cell state on its way out.
      peephole_init: initializer of the peephole weights ``[3H]``. With zeros training starts from
        the plain LSTM, and opens the peepholes where the gradient asks for it.

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

    def init(self, key: PRNGKey) -> PeepholeLSTMParams:
        """Draw parameters.

        Args:
          key: typed random key.

        Returns:
          `PeepholeLSTMParams`.
        """
        k_kernels, k_peephole = jax.random.split(key)
        shape = (PEEPHOLES * self.hidden_size,)
        return PeepholeLSTMParams(
            *self.init_kernels(k_kernels, initializers.GATES),
            peephole=self.peephole_init(k_peephole, shape, self.policy.param),
        )

    def gates(
        self, params: PeepholeLSTMParams, state: LSTMState, x: Float[Array, "... I"]
    ) -> LSTMGates:
        """The gates and the candidate of one step.

        Args:
          params: `PeepholeLSTMParams`.
          state: ``(h_{t-1}, c_{t-1})``, each ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          `LSTMGates`, each ``[..., H]``.

        Raises:
          TypeError, ValueError: as `step`.
        """
        return self._advance("PeepholeLSTM.gates", params, state, x, identity)[1]

    def step(
        self,
        params: PeepholeLSTMParams,
        state: LSTMState,
        x: Float[Array, "... I"],
        *,
        on_candidate: Callable[[jax.Array], jax.Array] = identity,
    ) -> LSTMState:
        """Advance one time step: ``c_t = f * c_{t-1} + i * g`` and ``h_t = o * tanh(c_t)``.

        Args:
          params: `PeepholeLSTMParams`.
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
        return self._advance("PeepholeLSTM.step", params, state, x, on_candidate)[0]

    def _advance(
        self,
        function: str,
        params: PeepholeLSTMParams,
        state: LSTMState,
        x: jax.Array,
        on_candidate: Callable[[jax.Array], jax.Array],
    ) -> tuple[LSTMState, LSTMGates]:
        """The new state and the gates at once: the output gate needs the new cell state."""
        params, (h_tm1, c_tm1), (z_i, z_f, z_g, z_o) = self.pre_activations(
            function, params, state, x, gates=initializers.GATES
        )
        H = h_tm1.shape[-1]
        check_params(function, params, {"peephole": ((PEEPHOLES * H,), "[3H]")}, f"H = {H}")
        p_i, p_f, p_o = jnp.split(params.peephole.astype(z_i.dtype), PEEPHOLES)
        c = c_tm1.astype(z_i.dtype)
        i = self.gate_activation(z_i + p_i * c)
        f = self.gate_activation(z_f + p_f * c)
        g = self.activation(z_g)
        c_t = f * c + i * on_candidate(g)
        o = self.gate_activation(z_o + p_o * c_t)
        h_t = o * self.activation(c_t)
        new = LSTMState(h_t.astype(h_tm1.dtype), c_t.astype(c_tm1.dtype))
        return new, LSTMGates(i=i, f=f, g=g, o=o)
