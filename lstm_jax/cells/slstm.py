"""The sLSTM: exponential gates, a normaliser that sums the input gates, and heads.

    i_t = exp(W_i x_t + R_i h_{t-1} + b_i)         input gate
    f_t = sigmoid(.) or exp(.), of the same form   forget gate
    z_t = tanh(.)                                  candidate
    o_t = sigmoid(.)                               output gate
    c_t = f_t * c_{t-1} + i_t * z_t                cell state
    n_t = f_t * n_{t-1} + i_t                      normaliser
    h_t = o_t * c_t / n_t                          hidden state

The exponentials would overflow, so c and n are stored divided by ``exp(m)``, which cancels in h:

    m_t = max(log f_t + m_{t-1}, log i_t)          stabiliser

Reference: Beck et al. (2024), *xLSTM: Extended long short-term memory*.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.arguments import Shapes
from lstm_jax.cells.cell import Activation, CellBase, identity, over_rows, project
from lstm_jax.cells.exponential import (
    ForgetBiasRange,
    ForgetGate,
    check_forget_gate,
    check_heads,
    log_forget,
    stabilise,
)
from lstm_jax.types import DType, Initializer, Policy, PRNGKey, promote_dtypes


class SLSTMParams(NamedTuple):
    """Parameters of the sLSTM; gate blocks in the order i, f, z, o along the last axis.

    Attributes:
      kernel: input kernel ``[I, 4H]``.
      recurrent_kernel: one recurrent kernel for each of ``N`` heads of ``D = H / N`` units
        ``[N, D, 4D]``.
      bias: bias ``[4H]``, the forget-gate bias included.
    """

    kernel: Float[Array, "I 4*H"]
    recurrent_kernel: Float[Array, "N D 4*D"]
    bias: Float[Array, " 4*H"]


class SLSTMState(NamedTuple):
    """State of the sLSTM, each ``[..., H]``.

    Attributes:
      h: hidden state, the output.
      c: cell state, divided by ``exp(m)``.
      n: normaliser, divided by ``exp(m)``. Zero before the first input.
      m: stabiliser.
    """

    h: Float[Array, "... H"]
    c: Float[Array, "... H"]
    n: Float[Array, "... H"]
    m: Float[Array, "... H"]


class SLSTMGates(NamedTuple):
    """The activations inside one sLSTM step, each ``[..., H]``.

    Attributes:
      i: input gate as it acts on the stored c and n: ``exp(log i_t - m_t)``.
      f: forget gate as it acts on the stored c and n: ``exp(log f_t + m_{t-1} - m_t)``.
      z: candidate, in (-1, 1).
      o: output gate, in (0, 1).
    """

    i: Float[Array, "... H"]
    f: Float[Array, "... H"]
    z: Float[Array, "... H"]
    o: Float[Array, "... H"]


@dataclass(frozen=True, repr=False)
class SLSTM(CellBase):
    """The sLSTM as a cell: ``c_t = f * c_{t-1} + i * z``, ``h_t = o * c_t / n_t``, gates ``exp``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      num_heads: number of heads ``N``; there are no weights between units of different heads.
      forget_gate: "sigmoid" or "exp".
      kernel_init: initializer of the input kernel ``[I, 4H]``.
      recurrent_kernel_init: initializer of each head's recurrent kernel ``[D, 4D]``.
      bias_init: initializer of the bias ``[4H]``. By default the forget gate starts open:
        `ForgetBiasRange` for a sigmoid; zeros for exp, with which the initial memory is the
        mean of all candidates.
      dtype: dtype of the parameters and of ``h``, with c, n and m in float32 at least; or a
        `Policy`.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1, `num_heads` does not divide `hidden_size`, or
        `forget_gate` is neither.

    Reference:
      Beck et al. (2024), *xLSTM: Extended long short-term memory*.

    >>> cell = SLSTM(input_size=3, hidden_size=8, num_heads=2)
    >>> params = cell.init(jax.random.key(0))
    >>> params.recurrent_kernel.shape
    (2, 4, 16)
    >>> cell.step(params, cell.initial_state((2,)), jnp.ones((2, 3))).h.shape
    (2, 8)
    """

    input_size: int
    hidden_size: int
    num_heads: int = 1
    forget_gate: ForgetGate = "sigmoid"
    kernel_init: Initializer = initializers.lecun_normal
    recurrent_kernel_init: Initializer = initializers.orthogonal_per_gate
    bias_init: Initializer | None = None
    dtype: DType | Policy = jnp.float32

    params_type = SLSTMParams
    state_type = SLSTMState

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads("SLSTM", self.num_heads, self.hidden_size)
        check_forget_gate("SLSTM", self.forget_gate)

    def init(self, key: PRNGKey) -> SLSTMParams:
        """Draw parameters.

        Args:
          key: typed random key.

        Returns:
          `SLSTMParams`.
        """
        k_kernel, k_recurrent, k_bias = jax.random.split(key, 3)
        H, D, dtype = self.hidden_size, self.hidden_size // self.num_heads, self.policy.param
        open_gate = initializers.zeros if self.forget_gate == "exp" else ForgetBiasRange()
        heads = [
            self.recurrent_kernel_init(k_head, (D, 4 * D), dtype)
            for k_head in jax.random.split(k_recurrent, self.num_heads)
        ]
        return SLSTMParams(
            kernel=self.kernel_init(k_kernel, (self.input_size, 4 * H), dtype),
            recurrent_kernel=jnp.stack(heads),
            bias=(self.bias_init or open_gate)(k_bias, (4 * H,), dtype),
        )

    def initial_state(self, batch_shape: Sequence[int] = ()) -> SLSTMState:
        """Zeros for h, c, n and m.

        Args:
          batch_shape: the batch axes.

        Returns:
          `SLSTMState`, each ``[*batch_shape, H]``; c, n, m in float32 at least unless the policy
          sets their dtype.
        """
        h, c, n, m = (jnp.zeros((*batch_shape, self.hidden_size), dtype) for dtype in self._dtypes)
        return SLSTMState(h, c, n, m)

    def gates(self, params: SLSTMParams, state: SLSTMState, x: Float[Array, "... I"]) -> SLSTMGates:
        """The gates and the candidate of one step, i and f as they act on the stored state.

        Args:
          params: `SLSTMParams`.
          state: ``(h_{t-1}, c_{t-1}, n_{t-1}, m_{t-1})``, each ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          `SLSTMGates`, each ``[..., H]``, in the promoted dtype of the parameters and ``c``.

        Raises:
          TypeError, ValueError: as `step`.
        """
        return self._checked_gates("SLSTM.gates", params, state, x)[1]

    def step(
        self,
        params: SLSTMParams,
        state: SLSTMState,
        x: Float[Array, "... I"],
        *,
        on_candidate: Activation = identity,
    ) -> SLSTMState:
        """Advance one time step: ``c_t = f * c_{t-1} + i * z`` and ``h_t = o * c_t / n_t``.

        Args:
          params: `SLSTMParams`.
          state: ``(h_{t-1}, c_{t-1}, n_{t-1}, m_{t-1})``, each ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.
          on_candidate: hook, applied to ``z`` before it enters the cell state.

        Returns:
          `SLSTMState`, each ``[..., H]``, with the dtypes of `state`.

        Raises:
          TypeError: when `state` is not a tuple of four, or an array is complex.
          ValueError: when the shapes of `params`, `state` and `x` do not fit together, or their
            batch axes are not equal.
        """
        state, (i, f, z, o), m_t = self._checked_gates("SLSTM.step", params, state, x)
        c_t = f * state.c.astype(f.dtype) + i * on_candidate(z)
        n_t = f * state.n.astype(f.dtype) + i
        new = SLSTMState(o * (c_t / n_t), c_t, n_t, m_t)  # one of i, f is 1, so n is 1 at least
        return SLSTMState(*(leaf.astype(old.dtype) for leaf, old in zip(new, state, strict=True)))

    @property
    def _dtypes(self) -> tuple[DType, DType, DType, DType]:
        memory = self.policy.cell_state
        return self.policy.output, memory, memory, memory

    def shapes(self, params: Any) -> Shapes:
        """The shapes that a step expects, from the sizes of the cell."""
        I, H, N = self.input_size, self.hidden_size, self.num_heads  # noqa: E741
        D = H // N
        return Shapes(
            params={
                "kernel": ((I, 4 * H), "[I, 4H]"),
                "recurrent_kernel": ((N, D, 4 * D), "[N, D, 4D]"),
                "bias": ((4 * H,), "[4H]"),
            },
            x=((I,), "I"),
            state=dict.fromkeys(SLSTMState._fields, ((H,), "H")),
            sizes=f"I = {I}, H = {H}, N = {N}, D = {D}",
        )

    def _checked_gates(
        self, function: str, params: SLSTMParams, state: SLSTMState, x: jax.Array
    ) -> tuple[SLSTMState, SLSTMGates, jax.Array]:
        """The state as arrays, the gates and ``m_t``, once everything fits together."""
        params, state, x = self.checked(function, params, state, x)
        params = self.in_compute_dtype(params)
        dtype = promote_dtypes(params.kernel.dtype, state.c.dtype)
        z = project(x, params.kernel, dtype)
        z = z + _project_heads(state.h, params.recurrent_kernel, dtype) + over_rows(params.bias, z)
        z_i, z_f, z_z, z_o = jnp.split(z, initializers.GATES, axis=-1)
        # Before the first input m_{t-1} has no meaning and must not dominate log i_t. This is
        # decided for each unit: in a batch, some rows may have been reset.
        log_f, empty = log_forget(self.forget_gate, z_f), state.n == 0
        i, f, m_t = stabilise(z_i, log_f, state.m, empty)
        return state, SLSTMGates(i, f, z=jnp.tanh(z_z), o=jax.nn.sigmoid(z_o)), m_t


def _project_heads(
    h: Float[Array, "... H"], kernel: Float[Array, "N D 4*D"], dtype: DType
) -> Float[Array, "... 4*H"]:
    """Each head times its own kernel; the gate blocks are those of all heads, as in the bias."""
    N, D, _ = kernel.shape
    heads = h.astype(kernel.dtype).reshape(*h.shape[:-1], N, D)
    blocks = kernel.reshape(N, D, initializers.GATES, D)
    z = jnp.einsum("...nd,ndge->...gne", heads, blocks, preferred_element_type=dtype)
    return z.reshape(*h.shape[:-1], N * D * initializers.GATES)  # not -1: there may be no rows
