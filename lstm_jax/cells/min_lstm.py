"""The minLSTM: gates that depend on the input alone, so that time steps can run in parallel.

    f_t  = sigmoid(W_f x_t + b_f)                  forget gate
    i_t  = sigmoid(W_i x_t + b_i)                  input gate
    f'_t = f_t / (f_t + i_t),  i'_t = i_t / (f_t + i_t)
    g_t  = W_g x_t + b_g                           candidate, h~_t in the paper
    h_t  = f'_t * h_{t-1} + i'_t * g_t             hidden state

Reference: Feng et al. (2024), *Were RNNs all we needed?*
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.arrays import as_array, check_arrays
from lstm_jax.cells.arguments import Shapes, as_params, check_step
from lstm_jax.cells.cell import Activation, CellBase, identity, over_rows, project
from lstm_jax.types import DType, Initializer, Policy, PRNGKey, promote_dtypes

GATES = 3
"""Gate blocks of a minLSTM kernel: i, f, g."""


class MinLSTMParams(NamedTuple):
    """Parameters of the minLSTM; gate blocks in the order i, f, g along the last axis.

    Attributes:
      kernel: input kernel ``[I, 3H]``.
      bias: bias ``[3H]``, the forget-gate bias included.
    """

    kernel: Float[Array, "I 3*H"]
    bias: Float[Array, " 3*H"]


class MinLSTMState(NamedTuple):
    """State of the minLSTM: its hidden state ``h`` ``[..., H]``, which is memory and output."""

    h: Float[Array, "... H"]


class MinLSTMGates(NamedTuple):
    """The activations inside one minLSTM step, each ``[..., H]``.

    Attributes:
      i: input gate ``i'``, in (0, 1); ``i' + f' = 1``.
      f: forget gate ``f'``, in (0, 1).
      g: candidate.
    """

    i: Float[Array, "... H"]
    f: Float[Array, "... H"]
    g: Float[Array, "... H"]


def positive(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The activation ``x + 0.5`` above zero and ``sigmoid(x)`` below, which is never negative.

    With a positive candidate the recurrence can run on the logarithm of its state.

    Args:
      x: any array.

    Returns:
      An array of the same shape and dtype.

    Reference:
      Feng et al. (2024), *Were RNNs all we needed?*, where it is ``g``.

    >>> positive(jnp.array([-200.0, 0.0, 2.0])).tolist()
    [0.0, 0.5, 2.5]
    """
    return jnp.where(x >= 0, x + 0.5, jax.nn.sigmoid(x))


@dataclass(frozen=True, repr=False)
class MinLSTM(CellBase):
    """The minLSTM as a cell: ``h_t = f' * h_{t-1} + i' * g``, linear in ``h_{t-1}``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, 3H]``.
      bias_init: initializer of the bias ``[3H]``. A positive forget-gate bias sped up training in
        the paper.
      dtype: dtype of the parameters and of ``h``; or a `Policy`. ``h`` is the only memory, so with
        low-precision products use a `Policy` whose ``output`` is float32.
      activation: applied to the candidate; `positive` for the paper's log-space version.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    Reference:
      Feng et al. (2024), *Were RNNs all we needed?*

    >>> cell = MinLSTM(input_size=3, hidden_size=5)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.initial_state((2,)), jnp.ones((2, 3))).h.shape
    (2, 5)
    """

    input_size: int
    hidden_size: int
    kernel_init: Initializer = initializers.lecun_normal
    bias_init: Initializer = initializers.ForgetBias(1.0, gate=1, gates=GATES)
    dtype: DType | Policy = jnp.float32
    activation: Activation = identity

    params_type = MinLSTMParams
    state_type = MinLSTMState

    def init(self, key: PRNGKey) -> MinLSTMParams:
        """Draw parameters.

        Args:
          key: typed random key.

        Returns:
          `MinLSTMParams`.
        """
        k_kernel, k_bias = jax.random.split(key)
        width, dtype = GATES * self.hidden_size, self.policy.param
        return MinLSTMParams(
            kernel=self.kernel_init(k_kernel, (self.input_size, width), dtype),
            bias=self.bias_init(k_bias, (width,), dtype),
        )

    def initial_state(self, batch_shape: Sequence[int] = ()) -> MinLSTMState:
        """Zeros for h.

        Args:
          batch_shape: the batch axes.

        Returns:
          `MinLSTMState`, ``[*batch_shape, H]``.
        """
        return MinLSTMState(jnp.zeros((*batch_shape, self.hidden_size), self.policy.output))

    def gates(
        self, params: MinLSTMParams, state: MinLSTMState, x: Float[Array, "... I"]
    ) -> MinLSTMGates:
        """The gates and the candidate of one step, which do not depend on the state.

        Args:
          params: `MinLSTMParams`.
          state: ``(h_{t-1},)``, or ``h_{t-1}`` by itself, ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          `MinLSTMGates`, each ``[..., H]``, in the dtype of `coefficients`.

        Raises:
          TypeError, ValueError: as `step`.
        """
        params, _, x = self.checked("MinLSTM.gates", params, state, x)
        return self._gates(params, x)

    def coefficients(
        self,
        params: MinLSTMParams,
        x: Float[Array, "... I"],
        *,
        on_candidate: Activation = identity,
    ) -> tuple[Float[Array, "... H"], Float[Array, "... H"]]:
        """``a`` and ``b`` of ``h_t = a * h_{t-1} + b``, for one time step or for all of them.

        Args:
          params: `MinLSTMParams`.
          x: input ``[..., I]``; time may be one of the leading axes.
          on_candidate: hook, applied to ``g`` before it enters the state.

        Returns:
          ``(a, b)`` with ``a = f'`` and ``b = i' * g``, each ``[..., H]``, in the promoted dtype of
          the matrix products and of the policy's cell state.

        Raises:
          ValueError: when the shapes of `params` and `x` do not fit together.

        >>> cell = MinLSTM(input_size=3, hidden_size=5)
        >>> a, b = cell.coefficients(cell.init(jax.random.key(0)), jnp.ones((7, 2, 3)))
        >>> a.shape, b.shape
        ((7, 2, 5), (7, 2, 5))
        """
        params, x = check_arrays("MinLSTM.coefficients", params=params, x=x)
        params = as_params(MinLSTMParams, params)
        x = jnp.asarray(as_array("MinLSTM.coefficients", "x", x))
        shapes = self.shapes(params)._replace(state={})
        check_step("MinLSTM.coefficients", params, None, x, shapes)
        i, f, g = self._gates(params, x)
        return f, i * on_candidate(g)

    def step(
        self,
        params: MinLSTMParams,
        state: MinLSTMState,
        x: Float[Array, "... I"],
        *,
        on_candidate: Activation = identity,
    ) -> MinLSTMState:
        """Advance one time step: ``h_t = f' * h_{t-1} + i' * g``.

        Args:
          params: `MinLSTMParams`.
          state: ``(h_{t-1},)``, or ``h_{t-1}`` by itself, ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.
          on_candidate: hook, applied to ``g`` before it enters the state.

        Returns:
          `MinLSTMState`, ``[..., H]``, with the dtype of `state`.

        Raises:
          TypeError: when `state` has another number of fields, or an array is complex.
          ValueError: when the shapes of `params`, `state` and `x` do not fit together, or their
            batch axes are not equal.
        """
        params, (h_tm1,), x = self.checked("MinLSTM.step", params, state, x)
        i, f, g = self._gates(params, x)
        dtype = promote_dtypes(f.dtype, h_tm1.dtype)
        a, b = f.astype(dtype), (i * on_candidate(g)).astype(dtype)
        h_t = a * h_tm1.astype(dtype) + b
        return MinLSTMState(h_t.astype(h_tm1.dtype))

    def shapes(self, params: Any) -> Shapes:
        """The shapes that a step expects, from the sizes of the cell."""
        I, H = self.input_size, self.hidden_size  # noqa: E741
        return Shapes(
            params={"kernel": ((I, GATES * H), "[I, 3H]"), "bias": ((GATES * H,), "[3H]")},
            x=((I,), "I"),
            state={"h": ((H,), "H")},
            sizes=f"I = {I}, H = {H}",
        )

    def _gates(self, params: MinLSTMParams, x: jax.Array) -> MinLSTMGates:
        params = self.in_compute_dtype(params)
        dtype = promote_dtypes(params.kernel.dtype, self.policy.cell_state)
        z = project(x, params.kernel, dtype)
        z = z + over_rows(params.bias, z)
        z_i, z_f, z_g = jnp.split(z, GATES, axis=-1)
        # f / (f + i) = 1 / (1 + exp(log i - log f)): the quotient is 0 / 0 when both gates close.
        log_ratio = jax.nn.log_sigmoid(z_f) - jax.nn.log_sigmoid(z_i)
        i, f = jax.nn.sigmoid(-log_ratio), jax.nn.sigmoid(log_ratio)
        return MinLSTMGates(i, f, self.activation(z_g))
