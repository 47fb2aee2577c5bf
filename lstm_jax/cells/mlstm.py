"""The mLSTM: a matrix memory, written by key and value and read by query.

    q_t = W_q x_t + b_q                                        query
    k_t = W_k x_t / sqrt(K) + b_k                              key
    v_t = W_v x_t + b_v                                        value
    i_t = exp(w_i . x_t + b_i)                                 input gate, one per head
    f_t = sigmoid(w_f . x_t + b_f), or exp(.)                  forget gate, one per head
    o_t = sigmoid(W_o x_t + b_o)                               output gate
    C_t = f_t C_{t-1} + i_t v_t k_t^T                          cell state
    n_t = f_t n_{t-1} + i_t k_t                                normaliser
    h_t = o_t * C_t q_t / max(|n_t . q_t|, 1)                  hidden state

The exponentials would overflow, so C and n are stored divided by ``exp(m)``, which cancels in h:

    m_t = max(log f_t + m_{t-1}, log i_t)                      stabiliser

The gates do not depend on h: nothing that was read enters what is written.

Reference: Beck et al. (2024), *xLSTM: Extended long short-term memory*.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.arguments import Shapes
from lstm_jax.cells.cell import CellBase, over_rows, project
from lstm_jax.cells.exponential import (
    ForgetBiasRange,
    ForgetGate,
    check_forget_gate,
    check_heads,
    largest_exponent,
    log_forget,
    stabilise,
)
from lstm_jax.types import DType, Initializer, Policy, PRNGKey, check_size, promote_dtypes


class MLSTMParams(NamedTuple):
    """Parameters of the mLSTM with ``N`` heads and keys of ``K`` features.

    Attributes:
      kernel: kernel ``[I, 2NK + 2H]``, blocks q, k, v, o along the last axis.
      gate_kernel: kernel of the gates with one value per head ``[I, 2N]``, blocks i, f.
      bias: bias ``[2NK + 2H]``, blocks q, k, v, o.
      gate_bias: bias ``[2N]``, blocks i, f.
    """

    kernel: Float[Array, "I 2*N*K+2*H"]
    gate_kernel: Float[Array, "I 2*N"]
    bias: Float[Array, " 2*N*K+2*H"]
    gate_bias: Float[Array, " 2*N"]


class MLSTMState(NamedTuple):
    """State of the mLSTM, for ``N`` heads with keys of ``K`` and values of ``V`` features.

    Attributes:
      h: hidden state ``[..., H]``, the output.
      C: cell state ``[..., N, V, K]``, divided by ``exp(m)``.
      n: normaliser ``[..., N, K]``, divided by ``exp(m)``.
      m: stabiliser ``[..., N]``.
    """

    h: Float[Array, "... H"]
    C: Float[Array, "... N V K"]
    n: Float[Array, "... N K"]
    m: Float[Array, "... N"]


class MLSTMGates(NamedTuple):
    """The activations inside one mLSTM step.

    Attributes:
      i: input gate as it acts on the stored C and n ``[..., N]``: ``exp(log i_t - m_t)``.
      f: forget gate as it acts on the stored C and n ``[..., N]``:
        ``exp(log f_t + m_{t-1} - m_t)``.
      o: output gate ``[..., H]``, in (0, 1).
      q: query ``[..., N, K]``.
      k: key ``[..., N, K]``.
      v: value ``[..., N, V]``.
    """

    i: Float[Array, "... N"]
    f: Float[Array, "... N"]
    o: Float[Array, "... H"]
    q: Float[Array, "... N K"]
    k: Float[Array, "... N K"]
    v: Float[Array, "... N V"]


@dataclass(frozen=True, repr=False)
class MLSTM(CellBase):
    """The mLSTM as a cell: ``C_t = f C_{t-1} + i v k^T``, ``h_t = o * C_t q / max(|n_t . q|, 1)``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H`` of all heads; a value has ``V = H / N`` features.
      num_heads: number of heads ``N``.
      forget_gate: "sigmoid" or "exp".
      key_dim: number of features ``K`` of a key; ``V`` when not given.
      kernel_init: initializer of the kernel ``[I, 2NK + 2H]`` of q, k, v, o.
      gate_kernel_init: initializer of the kernel ``[I, 2N]`` of i, f. With zeros, as in the
        authors' code, the initial gates do not depend on the input.
      bias_init: initializer of the bias ``[2NK + 2H]``.
      gate_bias_init: initializer of the bias ``[2N]``. By default the forget gate starts open:
        from 3 in the first head to 6 in the last for a sigmoid, 0 for exp.
      dtype: dtype of the parameters and of ``h``, with C, n and m in float32 at least; or a
        `Policy`.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1, `num_heads` does not divide `hidden_size`, or
        `forget_gate` is neither.

    Reference:
      Beck et al. (2024), *xLSTM: Extended long short-term memory*.

    >>> cell = MLSTM(input_size=3, hidden_size=8, num_heads=2)
    >>> params = cell.init(jax.random.key(0))
    >>> state = cell.step(params, cell.initial_state((5,)), jnp.ones((5, 3)))
    >>> state.h.shape, state.C.shape
    ((5, 8), (5, 2, 4, 4))
    """

    input_size: int
    hidden_size: int
    num_heads: int = 1
    forget_gate: ForgetGate = "sigmoid"
    key_dim: int | None = None
    kernel_init: Initializer = initializers.lecun_normal
    gate_kernel_init: Initializer = initializers.zeros
    bias_init: Initializer = initializers.zeros
    gate_bias_init: Initializer | None = None
    dtype: DType | Policy = jnp.float32

    params_type = MLSTMParams
    state_type = MLSTMState

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads("MLSTM", self.num_heads, self.hidden_size)
        check_forget_gate("MLSTM", self.forget_gate)
        if self.key_dim is not None:
            check_size("MLSTM", "key_dim", self.key_dim)
            if self.key_dim == self._value_dim:  # the default: equal cells compare equal
                object.__setattr__(self, "key_dim", None)

    @property
    def _value_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def _key_dim(self) -> int:
        return self._value_dim if self.key_dim is None else self.key_dim

    @property
    def _width(self) -> int:
        """Columns of the kernel: q, k, v, o."""
        return 2 * self.num_heads * self._key_dim + 2 * self.hidden_size

    def init(self, key: PRNGKey) -> MLSTMParams:
        """Draw parameters.

        Args:
          key: typed random key.

        Returns:
          `MLSTMParams`.
        """
        keys = jax.random.split(key, 4)
        N, width, dtype = self.num_heads, self._width, self.policy.param
        exp = self.forget_gate == "exp"
        open_gate = initializers.zeros if exp else ForgetBiasRange(gate=1, gates=2)
        return MLSTMParams(
            kernel=self.kernel_init(keys[0], (self.input_size, width), dtype),
            gate_kernel=self.gate_kernel_init(keys[1], (self.input_size, 2 * N), dtype),
            bias=self.bias_init(keys[2], (width,), dtype),
            gate_bias=(self.gate_bias_init or open_gate)(keys[3], (2 * N,), dtype),
        )

    def initial_state(self, batch_shape: Sequence[int] = ()) -> MLSTMState:
        """Zeros for h, C, n and m.

        Args:
          batch_shape: the batch axes.

        Returns:
          `MLSTMState`; C, n, m in float32 at least unless the policy sets their dtype.
        """
        N, V, K, memory = self.num_heads, self._value_dim, self._key_dim, self.policy.cell_state
        return MLSTMState(
            h=jnp.zeros((*batch_shape, self.hidden_size), self.policy.output),
            C=jnp.zeros((*batch_shape, N, V, K), memory),
            n=jnp.zeros((*batch_shape, N, K), memory),
            m=jnp.zeros((*batch_shape, N), memory),
        )

    def gates(self, params: MLSTMParams, state: MLSTMState, x: Float[Array, "... I"]) -> MLSTMGates:
        """The gates, query, key and value of one step, i and f as they act on the stored state.

        Args:
          params: `MLSTMParams`.
          state: ``(h_{t-1}, C_{t-1}, n_{t-1}, m_{t-1})``.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          `MLSTMGates`, in the promoted dtype of the parameters and ``C``.

        Raises:
          TypeError, ValueError: as `step`.
        """
        return self._checked_gates("MLSTM.gates", params, state, x)[1]

    def step(self, params: MLSTMParams, state: MLSTMState, x: Float[Array, "... I"]) -> MLSTMState:
        """Advance one time step: ``C_t = f C_{t-1} + i v k^T``, read by the query.

        Args:
          params: `MLSTMParams`.
          state: ``(h_{t-1}, C_{t-1}, n_{t-1}, m_{t-1})``.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          `MLSTMState`, with the dtypes of `state`.

        Raises:
          TypeError: when `state` is not a tuple of four, or an array is complex.
          ValueError: when the shapes of `params`, `state` and `x` do not fit together, or their
            batch axes are not equal.
        """
        state, (i, f, o, q, k, v), m_t = self._checked_gates("MLSTM.step", params, state, x)
        dtype = o.dtype
        i_k = i[..., None] * k
        C_t = f[..., None, None] * state.C.astype(dtype) + v[..., :, None] * i_k[..., None, :]
        n_t = f[..., None] * state.n.astype(dtype) + i_k
        read = _read(C_t, n_t, m_t, q).astype(dtype)
        new = MLSTMState(o * read.reshape(o.shape), C_t, n_t, m_t)
        return MLSTMState(*(leaf.astype(old.dtype) for leaf, old in zip(new, state, strict=True)))

    def shapes(self, params: Any) -> Shapes:
        """The shapes that a step expects, from the sizes of the cell."""
        I, width, H = self.input_size, self._width, self.hidden_size  # noqa: E741
        N, V, K = self.num_heads, self._value_dim, self._key_dim
        return Shapes(
            params={
                "kernel": ((I, width), "[I, 2NK + 2H]"),
                "gate_kernel": ((I, 2 * N), "[I, 2N]"),
                "bias": ((width,), "[2NK + 2H]"),
                "gate_bias": ((2 * N,), "[2N]"),
            },
            x=((I,), "I"),
            state={
                "h": ((H,), "H"),
                "C": ((N, V, K), "[N, V, K]"),
                "n": ((N, K), "[N, K]"),
                "m": ((N,), "[N]"),
            },
            sizes=f"I = {I}, H = {H}, N = {N}, K = {K}",
        )

    def _checked_gates(
        self, function: str, params: MLSTMParams, state: MLSTMState, x: jax.Array
    ) -> tuple[MLSTMState, MLSTMGates, jax.Array]:
        """The state as arrays, the gates and ``m_t``, once everything fits together."""
        params, state, x = self.checked(function, params, state, x)
        H, N, V, K = self.hidden_size, self.num_heads, self._value_dim, self._key_dim
        params = self.in_compute_dtype(params)
        dtype = promote_dtypes(params.kernel.dtype, state.C.dtype)
        cuts = (N * K, 2 * N * K, 2 * N * K + H)
        projected = project(x, params.kernel, dtype)
        q, k, v, z_o = jnp.split(projected, cuts, axis=-1)
        b_q, b_k, b_v, b_o = jnp.split(over_rows(params.bias, projected), cuts, axis=-1)
        z = project(x, params.gate_kernel, dtype)
        z = z + over_rows(params.gate_bias, z)
        z_i, z_f = jnp.split(z, 2, axis=-1)
        # Before the first input m_{t-1} has no meaning and must not dominate log i_t. This is
        # decided for each head: in a batch, some rows may have been reset.
        log_f, empty = log_forget(self.forget_gate, z_f), jnp.all(state.n == 0, axis=-1)
        i, f, m_t = stabilise(z_i, log_f, state.m, empty)
        batch_shape = x.shape[:-1]
        gates = MLSTMGates(
            i=i,
            f=f,
            o=jax.nn.sigmoid(z_o + b_o),
            q=(q + b_q).reshape(*batch_shape, N, K),
            k=(k / math.sqrt(K) + b_k).reshape(*batch_shape, N, K),
            v=(v + b_v).reshape(*batch_shape, N, V),
        )
        return state, gates, m_t


def _read(
    C: Float[Array, "... N V K"],
    n: Float[Array, "... N K"],
    m: Float[Array, "... N"],
    q: Float[Array, "... N K"],
) -> Float[Array, "... N V"]:
    """``C q / max(|n . q|, exp(-m))``, in float32 at least."""
    dtype = promote_dtypes(C.dtype, jnp.float32)
    # Each element of C is used once, so a sum is as fast as a matrix product.
    value = jnp.sum(C * q[..., None, :], -1, dtype=dtype)
    weight = jnp.abs(jnp.sum(n * q, -1, dtype=dtype))
    # Numerator and denominator are multiplied by exp(min(m, 0)), so that no exponential is above 1.
    # The bound keeps the denominator, and its square in the gradient, above zero where q is zero.
    m = m.astype(dtype)
    scale = jnp.exp(jnp.minimum(m, 0))
    least = jnp.exp(-jnp.clip(m, 0, largest_exponent(dtype) / 2))
    return value * (scale / jnp.maximum(weight * scale, least))[..., None]
