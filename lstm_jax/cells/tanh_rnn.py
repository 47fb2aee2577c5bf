"""The plain tanh RNN, whose gradients vanish over long sequences; for comparison.

    h_t = tanh(W [h_{t-1}, x_t] + b)
    h_t = tanh(W [h_{t-1}, x_t] + b + h_{t-1})     with a residual connection

Reference: Elman (1990), *Finding structure in time*.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax.cells.cell import Activation, KernelCell, identity


class TanhRNNParams(NamedTuple):
    """Parameters of the tanh RNN.

    Attributes:
      kernel: input kernel ``[I, H]``.
      recurrent_kernel: recurrent kernel ``[H, H]``.
      bias: bias ``[H]``.
    """

    kernel: Float[Array, "I H"]
    recurrent_kernel: Float[Array, "H H"]
    bias: Float[Array, " H"]


class TanhRNNState(NamedTuple):
    """State of the tanh RNN: its hidden state ``h`` ``[..., H]``."""

    h: Float[Array, "... H"]


@dataclass(frozen=True, repr=False)
class TanhRNN(KernelCell[TanhRNNParams, TanhRNNState]):
    """The tanh RNN as a cell: ``h_t = tanh(W [h_{t-1}, x_t] + b)``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, H]``.
      bias_init: initializer of the bias ``[H]``.
      dtype: dtype of the parameters and the state; or a `Policy`.
      activation: activation of the state.
      residual: add ``h_{t-1}`` before the activation. (`lstm_jax.residual` adds the input to the
        output.)

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    Reference:
      Elman (1990), *Finding structure in time*.

    >>> import jax
    >>> cell = TanhRNN(input_size=3, hidden_size=5)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.initial_state((2,)), jnp.ones((2, 3))).h.shape
    (2, 5)
    """

    activation: Activation = jnp.tanh
    residual: bool = False

    params_type = TanhRNNParams
    state_type = TanhRNNState
    gate_blocks = 1

    def step(
        self,
        params: TanhRNNParams,
        state: TanhRNNState,
        x: Float[Array, "... I"],
        *,
        on_candidate: Activation = identity,
        on_recurrent: Activation = identity,
    ) -> TanhRNNState:
        """Advance one time step: ``h_t = tanh(W [h_{t-1}, x_t] + b)``.

        Args:
          params: `TanhRNNParams`.
          state: ``(h_{t-1},)``, or ``h_{t-1}`` by itself, ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.
          on_candidate: hook, applied to ``tanh(.)`` before it becomes the state.
          on_recurrent: hook, applied to ``h_{t-1}`` where it is read.

        Returns:
          `TanhRNNState`, ``[..., H]``, with the dtype of `state`.

        Raises:
          TypeError: when `state` has another number of fields, or an array is complex.
          ValueError: when the shapes of `params`, `state` and `x` do not fit together, or their
            batch axes are not equal.
        """
        params, state, x = self.checked("TanhRNN.step", params, state, x)
        (h_tm1,) = state
        z = self.pre_activations(self.in_compute_dtype(params), on_recurrent(h_tm1), x, h_tm1.dtype)
        if self.residual:
            z = z + h_tm1.astype(z.dtype)
        h_t = on_candidate(self.activation(z))
        return TanhRNNState(h_t.astype(h_tm1.dtype))
