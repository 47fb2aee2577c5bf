"""The plain tanh recurrence: the network whose gradient vanishes, kept for comparison.

    h_t = tanh(W [h_{t-1}, x_t] + b)

Reference: Elman (1990), *Finding structure in time*.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax.cells.cell import Activation, KernelCell, affine, as_state, identity
from lstm_jax.cells.checks import check_shapes
from lstm_jax.types import PRNGKey


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
    """What the tanh RNN carries: its hidden state ``h`` ``[..., H]``."""

    h: Float[Array, "... H"]


@dataclass(frozen=True, repr=False)
class TanhRNN(KernelCell):
    """The tanh RNN as a cell: ``h_t = tanh(W [h_{t-1}, x_t] + b)``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, H]``.
      bias_init: initializer of the bias ``[H]``.
      dtype: dtype of the parameters and the state; or a `Policy`.
      activation: squashes the state.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    Reference:
      Elman (1990), *Finding structure in time*.

    >>> cell = TanhRNN(input_size=3, hidden_size=5)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.initial_state((2,)), jnp.ones((2, 3))).h.shape
    (2, 5)
    """

    activation: Activation = jnp.tanh

    def init(self, key: PRNGKey) -> TanhRNNParams:
        """Draw parameters.

        Args:
          key: typed random key.

        Returns:
          `TanhRNNParams`.
        """
        return TanhRNNParams(*self.init_kernels(key, gates=1))

    def initial_state(self, batch_shape: Sequence[int] = ()) -> TanhRNNState:
        """Zeros for h.

        Args:
          batch_shape: the batch axes.

        Returns:
          `TanhRNNState`, ``[*batch_shape, H]``.
        """
        return TanhRNNState(jnp.zeros((*batch_shape, self.hidden_size), self.policy.output))

    def step(
        self,
        params: TanhRNNParams,
        state: TanhRNNState,
        x: Float[Array, "... I"],
        *,
        on_candidate: Callable[[jax.Array], jax.Array] = identity,
        on_recurrent: Callable[[jax.Array], jax.Array] = identity,
    ) -> TanhRNNState:
        """Advance one time step: ``h_t = tanh(W [h_{t-1}, x_t] + b)``.

        Args:
          params: `TanhRNNParams`.
          state: ``(h_{t-1},)``, ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.
          on_candidate: applied to ``tanh(.)`` before it becomes the state.
          on_recurrent: applied to ``h_{t-1}`` where it is read.

        Returns:
          `TanhRNNState`, ``[..., H]``, with the dtype of `state`.

        Raises:
          TypeError: when `state` is not a tuple of one.
          ValueError: when the shapes of `params`, `state` and `x` do not fit together, or their
            batch axes are not equal.
        """
        state, x = as_state("TanhRNN.step", TanhRNNState, state), jnp.asarray(x)
        check_shapes("TanhRNN.step", params, state, x, gates=1)
        params = self.in_compute_dtype(params)
        (h_tm1,) = state
        z = affine(params, on_recurrent(h_tm1), x, h_tm1.dtype)
        return TanhRNNState(on_candidate(self.activation(z)).astype(h_tm1.dtype))
