"""The LSTM of 1997: no forget gate, so that nothing in the cell state ever fades.

    i_t = sigmoid(W_i [h_{t-1}, x_t] + b_i)        input gate
    g_t = g(W_g [h_{t-1}, x_t] + b_g)              candidate
    o_t = sigmoid(W_o [h_{t-1}, x_t] + b_o)        output gate
    c_t = c_{t-1} + i_t * g_t                      cell state
    h_t = o_t * h(c_t)                             hidden state

The paper squashes with ``g(z) = 4 sigmoid(z) - 2`` and ``h(z) = 2 sigmoid(z) - 1``: `squash_g` and
`squash_h`. It cuts gradients off where they leave the cell state; here all of them flow. The
connections from gates to gates that some of its experiments had are left out.

Reference: Hochreiter & Schmidhuber (1997), *Long short-term memory*.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax.cells.cell import Activation, LSTMCellBase, identity
from lstm_jax.types import LSTMState, PRNGKey

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
class OriginalLSTM(LSTMCellBase):
    """The LSTM of 1997 as a cell: ``c_t = c_{t-1} + i * g`` and ``h_t = o * tanh(c_t)``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, 3H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, 3H]``.
      bias_init: initializer of the bias ``[3H]``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
      gate_activation: squashes the gates.
      activation: squashes the candidate; `squash_g` in the paper.
      output_activation: squashes the cell state on its way out; `squash_h` in the paper.

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

    def init(self, key: PRNGKey) -> OriginalLSTMParams:
        """Draw parameters.

        Args:
          key: typed random key.

        Returns:
          `OriginalLSTMParams`.
        """
        return OriginalLSTMParams(*self.init_kernels(key, GATES))

    def gates(
        self, params: OriginalLSTMParams, state: LSTMState, x: Float[Array, "... I"]
    ) -> OriginalLSTMGates:
        """The gates and the candidate of one step: ``i, o = sigmoid(.)`` and ``g = tanh(.)``.

        Args:
          params: `OriginalLSTMParams`.
          state: ``(h_{t-1}, c_{t-1})``, each ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          `OriginalLSTMGates`, each ``[..., H]``.

        Raises:
          TypeError, ValueError: as `step`.
        """
        return self._checked_gates("OriginalLSTM.gates", params, state, x)[1]

    def step(
        self,
        params: OriginalLSTMParams,
        state: LSTMState,
        x: Float[Array, "... I"],
        *,
        on_candidate: Callable[[jax.Array], jax.Array] = identity,
    ) -> LSTMState:
        """Advance one time step: ``c_t = c_{t-1} + i * g`` and ``h_t = o * tanh(c_t)``.

        Args:
          params: `OriginalLSTMParams`.
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
        state, (i, g, o) = self._checked_gates("OriginalLSTM.step", params, state, x)
        h_tm1, c_tm1 = state
        c_t = c_tm1.astype(i.dtype) + i * on_candidate(g)
        h_t = o * self.output_activation(c_t)
        return LSTMState(h_t.astype(h_tm1.dtype), c_t.astype(c_tm1.dtype))

    def _checked_gates(
        self, function: str, params: OriginalLSTMParams, state: LSTMState, x: jax.Array
    ) -> tuple[LSTMState, OriginalLSTMGates]:
        _, state, z = self.pre_activations(function, params, state, x, gates=GATES)
        z_i, z_g, z_o = z
        gates = OriginalLSTMGates(
            i=self.gate_activation(z_i), g=self.activation(z_g), o=self.gate_activation(z_o)
        )
        return state, gates
