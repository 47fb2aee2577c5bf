"""The GRU: two gates and no separate cell state.

    r_t = sigmoid(W_r [h_{t-1}, x_t] + b_r)                        reset gate
    z_t = sigmoid(W_z [h_{t-1}, x_t] + b_z)                        update gate
    n_t = tanh(W_n x_t + b_n + r_t * (R_n h_{t-1} + b_rn))         candidate, reset after
    n_t = tanh(W_n x_t + b_n + R_n (r_t * h_{t-1}))                candidate, reset before
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}                          hidden state

The paper resets before the product. cuDNN, PyTorch, Keras and Flax reset after it, with a second
bias ``b_rn``: one product then computes all gates.

Reference: Cho, van Merriënboer, Gulcehre, Bahdanau, Bougares, Schwenk & Bengio (2014), *Learning
phrase representations using RNN encoder-decoder for statistical machine translation*.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.arguments import Shapes
from lstm_jax.cells.cell import Activation, KernelCell, identity, over_rows, project
from lstm_jax.types import Initializer, PRNGKey, promote_dtypes

GATES = 3
"""Gate blocks of a kernel: r, z, n."""


class GRUParams(NamedTuple):
    """Parameters of the GRU; blocks in the order r, z, n along the last axis.

    Attributes:
      kernel: input kernel ``[I, 3H]``.
      recurrent_kernel: recurrent kernel ``[H, 3H]``.
      bias: bias ``[3H]``.
      recurrent_bias: bias ``b_rn`` ``[H]`` of the candidate, which the reset gate multiplies; None
        for a GRU that resets before the product.
    """

    kernel: Float[Array, "I 3*H"]
    recurrent_kernel: Float[Array, "H 3*H"]
    bias: Float[Array, " 3*H"]
    recurrent_bias: Float[Array, " H"] | None = None


class GRUState(NamedTuple):
    """State of the GRU: its hidden state ``h`` ``[..., H]``, which is memory and output."""

    h: Float[Array, "... H"]


class GRUGates(NamedTuple):
    """The activations inside one GRU step, each ``[..., H]``.

    Attributes:
      r: reset gate, in (0, 1): how much of the last state the candidate reads.
      z: update gate, in (0, 1): how much of the last state is kept.
      n: candidate, in (-1, 1).
    """

    r: Float[Array, "... H"]
    z: Float[Array, "... H"]
    n: Float[Array, "... H"]


@dataclass(frozen=True, repr=False)
class GRU(KernelCell[GRUParams, GRUState]):
    """The GRU as a cell: ``h_t = (1 - z) * n + z * h_{t-1}``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, 3H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, 3H]``.
      bias_init: initializer of the bias ``[3H]``.
      dtype: dtype of the parameters and of ``h``; or a `Policy`. Gates are computed in float32 at
        least. ``h`` is also the memory, so a bfloat16 ``h`` loses small updates:
        ``Policy(compute="bfloat16", output="float32")`` keeps them.
      reset_after: multiply by the reset gate after the product instead of before.
      recurrent_bias_init: initializer of the bias ``b_rn`` ``[H]``.
      gate_activation: activation of the gates.
      activation: activation of the candidate.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    Reference:
      Cho et al. (2014), *Learning phrase representations using RNN encoder-decoder for
      statistical machine translation*.

    >>> cell = GRU(input_size=3, hidden_size=5)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.initial_state((2,)), jnp.ones((2, 3))).h.shape
    (2, 5)
    """

    reset_after: bool = True
    recurrent_bias_init: Initializer = initializers.zeros
    gate_activation: Activation = jax.nn.sigmoid
    activation: Activation = jnp.tanh

    params_type = GRUParams
    state_type = GRUState
    gate_blocks = GATES

    def gates(self, params: GRUParams, state: GRUState, x: Float[Array, "... I"]) -> GRUGates:
        """The gates and the candidate of one step: ``r, z = sigmoid(.)`` and ``n = tanh(.)``.

        Args:
          params: `GRUParams`.
          state: ``(h_{t-1},)``, or ``h_{t-1}`` by itself, ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          `GRUGates`, each ``[..., H]``.

        Raises:
          TypeError, ValueError: as `step`.
        """
        return self._checked_gates("GRU.gates", params, state, x)[1]

    def step(
        self,
        params: GRUParams,
        state: GRUState,
        x: Float[Array, "... I"],
        *,
        on_candidate: Activation = identity,
        on_recurrent: Activation = identity,
    ) -> GRUState:
        """Advance one time step: ``h_t = (1 - z) * n + z * h_{t-1}``.

        Args:
          params: `GRUParams`.
          state: ``(h_{t-1},)``, or ``h_{t-1}`` by itself, ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.
          on_candidate: hook, applied to ``n`` before it enters the state.
          on_recurrent: hook, applied to ``h_{t-1}`` where gates and candidate read it.

        Returns:
          `GRUState`, ``[..., H]``, with the dtype of `state`.

        Raises:
          TypeError: when `state` has another number of fields, or an array is complex.
          ValueError: when the shapes of `params`, `state` and `x` do not fit together, or their
            batch axes are not equal, or `params` are those of the other `reset_after`.
        """
        (h_tm1,), (_, z, n) = self._checked_gates("GRU.step", params, state, x, on_recurrent)
        h_t = (1.0 - z) * on_candidate(n) + z * h_tm1.astype(z.dtype)
        return GRUState(h_t.astype(h_tm1.dtype))

    def shapes(self, params: GRUParams) -> Shapes:
        """The shapes that a step expects."""
        shapes = super().shapes(params)
        (H,), _ = shapes.state["h"]
        bias = ((H,) if self.reset_after else None, "[H]")
        return shapes._replace(
            params={**shapes.params, "recurrent_bias": bias},
            sizes=f"H = {H}, reset_after = {self.reset_after}",
        )

    def _init(self, key: PRNGKey) -> GRUParams:
        k_kernels, k_bias = jax.random.split(key)
        kernels = self._init_kernels(k_kernels)
        if not self.reset_after:
            return GRUParams(*kernels)
        bias = self.recurrent_bias_init(k_bias, (self.hidden_size,), self.policy.param)
        return GRUParams(*kernels, recurrent_bias=bias)

    def _checked_gates(
        self,
        function: str,
        params: GRUParams,
        state: GRUState,
        x: Float[Array, "... I"],
        on_recurrent: Activation = identity,
    ) -> tuple[GRUState, GRUGates]:
        """The state as arrays, and the gates."""
        params, state, x = self.checked(function, params, state, x)
        params = self.in_compute_dtype(params)
        h_tm1 = on_recurrent(state.h)
        # Without a cell state, its dtype in the policy is the one that products accumulate in.
        dtype = promote_dtypes(
            promote_dtypes(params.kernel.dtype, h_tm1.dtype), self.policy.cell_state
        )
        from_x = project(x, params.kernel, dtype)
        from_x = from_x + over_rows(params.bias, from_x)
        x_r, x_z, x_n = jnp.split(from_x, GATES, axis=-1)
        if params.recurrent_bias is None:
            H = h_tm1.shape[-1]
            gate_kernel, candidate_kernel = jnp.split(params.recurrent_kernel, [2 * H], axis=-1)
            h_r, h_z = jnp.split(project(h_tm1, gate_kernel, dtype), 2, axis=-1)
            r = self.gate_activation(x_r + h_r)
            h_n = project(r * h_tm1.astype(dtype), candidate_kernel, dtype)
        else:
            from_h = project(h_tm1, params.recurrent_kernel, dtype)
            h_r, h_z, h_n = jnp.split(from_h, GATES, axis=-1)
            r = self.gate_activation(x_r + h_r)
            h_n = r * (h_n + over_rows(params.recurrent_bias, h_n))
        z = self.gate_activation(x_z + h_z)
        n = self.activation(x_n + h_n)
        return state, GRUGates(r, z, n)
