"""The LSTM: three gates, a tanh candidate, and a cell state that carries memory.

    f_t = sigmoid(W_f [h_{t-1}, x_t] + b_f)        forget gate
    i_t = sigmoid(W_i [h_{t-1}, x_t] + b_i)        input gate
    g_t = tanh   (W_g [h_{t-1}, x_t] + b_g)        candidate
    o_t = sigmoid(W_o [h_{t-1}, x_t] + b_o)        output gate
    c_t = f_t * c_{t-1} + i_t * g_t                cell state
    h_t = o_t * tanh(c_t)                          hidden state

Reference: Hochreiter & Schmidhuber (1997), *Long short-term memory*, with the forget gate of
Gers, Schmidhuber & Cummins (2000), *Learning to forget*.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.cell import Activation, LSTMCellBase, affine, as_state, identity
from lstm_jax.cells.checks import check_shapes, check_size
from lstm_jax.types import DType, Initializer, LSTMParams, LSTMState, PRNGKey


class LSTMGates(NamedTuple):
    """The activations inside one LSTM step, each ``[..., H]``.

    Attributes:
      i: input gate, in (0, 1).
      f: forget gate, in (0, 1).
      g: candidate, in (-1, 1).
      o: output gate, in (0, 1).
    """

    i: Float[Array, "... H"]
    f: Float[Array, "... H"]
    g: Float[Array, "... H"]
    o: Float[Array, "... H"]


def lstm_init(
    key: PRNGKey,
    input_size: int,
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal,
    recurrent_kernel_init: Initializer = initializers.orthogonal_per_gate,
    bias_init: Initializer = initializers.ForgetBias(1.0),
    dtype: DType = jnp.float32,
) -> LSTMParams:
    """Draw the parameters of an LSTM.

    Args:
      key: typed random key.
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, 4H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, 4H]``.
      bias_init: initializer of the bias ``[4H]``.
      dtype: dtype of the parameters.

    Returns:
      `LSTMParams`, gate blocks in the order i, f, g, o.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    Reference:
      See `lstm_jax.initializers` for the source of each default.

    >>> params = lstm_init(jax.random.key(0), input_size=3, hidden_size=5)
    >>> jax.tree.map(jnp.shape, params)
    LSTMParams(kernel=(3, 20), recurrent_kernel=(5, 20), bias=(20,))
    """
    check_size("lstm_init", "input_size", input_size)
    check_size("lstm_init", "hidden_size", hidden_size)
    return LSTM(input_size, hidden_size, kernel_init, recurrent_kernel_init, bias_init, dtype).init(
        key
    )


def lstm_gates(
    params: LSTMParams,
    state: LSTMState | tuple[Float[Array, "... H"], Float[Array, "... H"]],
    x: Float[Array, "... I"],
    *,
    gate_activation: Activation = jax.nn.sigmoid,
    activation: Activation = jnp.tanh,
) -> LSTMGates:
    """The gates and the candidate of one step: ``i, f, o = sigmoid(.)`` and ``g = tanh(.)``.

    Args:
      params: `LSTMParams`.
      state: ``(h_{t-1}, c_{t-1})``, each ``[..., H]``.
      x: input ``x_t`` ``[..., I]``.
      gate_activation: squashes the gates.
      activation: squashes the candidate.

    Returns:
      `LSTMGates`, each ``[..., H]``, in the wider dtype of the parameters and ``c``.

    Raises:
      TypeError: when `state` is not a tuple of two.
      ValueError: when the shapes of `params`, `state` and `x` do not fit together, or their batch
        axes are not equal.

    Reference:
      Gers, Schmidhuber & Cummins (2000), *Learning to forget*.

    >>> params = lstm_init(jax.random.key(0), 3, 5)
    >>> gates = lstm_gates(params, (jnp.zeros(5), jnp.zeros(5)), jnp.zeros(3))
    >>> [round(float(gate[0]), 3) for gate in gates]  # the bias alone: f starts at sigmoid(1)
    [0.5, 0.731, 0.0, 0.5]
    """
    return _checked_gates("lstm_gates", params, state, x, gate_activation, activation)[1]


def gate_activations(
    z: Float[Array, "... 4*H"], gate_activation: Activation, activation: Activation
) -> LSTMGates:
    """The gates and the candidate from their blocks i, f, g, o.

    Args:
      z: pre-activations ``[..., 4H]``.
      gate_activation: squashes the gates.
      activation: squashes the candidate.

    Returns:
      `LSTMGates`, each ``[..., H]``.

    >>> gate_activations(jnp.zeros(8), jax.nn.sigmoid, jnp.tanh).f.tolist()
    [0.5, 0.5]
    """
    z_i, z_f, z_g, z_o = jnp.split(z, initializers.GATES, axis=-1)
    return LSTMGates(
        i=gate_activation(z_i), f=gate_activation(z_f), g=activation(z_g), o=gate_activation(z_o)
    )


def lstm_step(
    params: LSTMParams,
    state: LSTMState | tuple[Float[Array, "... H"], Float[Array, "... H"]],
    x: Float[Array, "... I"],
    *,
    gate_activation: Activation = jax.nn.sigmoid,
    activation: Activation = jnp.tanh,
    on_candidate: Callable[[jax.Array], jax.Array] = identity,
) -> LSTMState:
    """Advance an LSTM one time step: ``c_t = f * c_{t-1} + i * g`` and ``h_t = o * tanh(c_t)``.

    The new state has the dtypes of the old one, whatever the parameters' dtype, so the step can
    be the body of a scan as it is.

    Args:
      params: `LSTMParams`.
      state: ``(h_{t-1}, c_{t-1})``, each ``[..., H]``.
      x: input ``x_t`` ``[..., I]``.
      gate_activation: squashes the gates.
      activation: squashes the candidate, and the cell state on its way out.
      on_candidate: applied to ``g`` before it enters the cell state.

    Returns:
      `LSTMState` ``(h_t, c_t)``, each ``[..., H]``.

    Raises:
      TypeError: when `state` is not a tuple of two.
      ValueError: when the shapes of `params`, `state` and `x` do not fit together, or their batch
        axes are not equal.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*; Gers, Schmidhuber & Cummins
      (2000), *Learning to forget*.

    >>> params = lstm_init(jax.random.key(0), input_size=3, hidden_size=5)
    >>> h, c = jnp.zeros((2, 5)), jnp.zeros((2, 5))
    >>> h, c = lstm_step(params, (h, c), jnp.ones((2, 3)))
    >>> h.shape, c.shape
    ((2, 5), (2, 5))
    """
    state, (i, f, g, o) = _checked_gates("lstm_step", params, state, x, gate_activation, activation)
    h_tm1, c_tm1 = state
    c_t = f * c_tm1.astype(f.dtype) + i * on_candidate(g)
    h_t = o * activation(c_t)
    return LSTMState(h_t.astype(h_tm1.dtype), c_t.astype(c_tm1.dtype))


@dataclass(frozen=True, repr=False)
class LSTM(LSTMCellBase):
    """The LSTM as a cell: the sizes and initializers, and three pure functions.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, 4H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, 4H]``.
      bias_init: initializer of the bias ``[4H]``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
      gate_activation: squashes the gates.
      activation: squashes the candidate, and the cell state on its way out.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*; Gers, Schmidhuber & Cummins
      (2000), *Learning to forget*.

    >>> cell = LSTM(input_size=3, hidden_size=5)
    >>> params = cell.init(jax.random.key(0))
    >>> state = cell.step(params, cell.initial_state((2,)), jnp.ones((2, 3)))
    >>> state.h.shape
    (2, 5)
    """

    bias_init: Initializer = initializers.ForgetBias(1.0)
    gate_activation: Activation = jax.nn.sigmoid
    activation: Activation = jnp.tanh

    def init(self, key: PRNGKey) -> LSTMParams:
        """Draw parameters.

        Args:
          key: typed random key.

        Returns:
          `LSTMParams`.
        """
        return LSTMParams(*self.init_kernels(key, initializers.GATES))

    def gates(self, params: LSTMParams, state: LSTMState, x: Float[Array, "... I"]) -> LSTMGates:
        """The gates of one step: `lstm_gates`.

        Args:
          params: `LSTMParams`.
          state: ``(h_{t-1}, c_{t-1})``, each ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          `LSTMGates`, each ``[..., H]``.

        Raises:
          TypeError, ValueError: as `lstm_gates`.
        """
        return lstm_gates(
            self.in_compute_dtype(params),
            state,
            x,
            gate_activation=self.gate_activation,
            activation=self.activation,
        )

    def step(
        self,
        params: LSTMParams,
        state: LSTMState,
        x: Float[Array, "... I"],
        *,
        on_candidate: Callable[[jax.Array], jax.Array] = identity,
    ) -> LSTMState:
        """Advance one time step: `lstm_step`.

        Args:
          params: `LSTMParams`.
          state: ``(h_{t-1}, c_{t-1})``, each ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.
          on_candidate: applied to ``g`` before it enters the cell state.

        Returns:
          `LSTMState`, each ``[..., H]``.

        Raises:
          TypeError, ValueError: as `lstm_step`.
        """
        return lstm_step(
            self.in_compute_dtype(params),
            state,
            x,
            gate_activation=self.gate_activation,
            activation=self.activation,
            on_candidate=on_candidate,
        )


def _checked_gates(
    function: str,
    params: LSTMParams,
    state: LSTMState | tuple[jax.Array, jax.Array],
    x: Float[Array, "... I"],
    gate_activation: Activation,
    activation: Activation,
) -> tuple[LSTMState, LSTMGates]:
    """The state as arrays and the gates of a step, once everything fits together."""
    state, x = as_state(function, LSTMState, state), jnp.asarray(x)
    check_shapes(function, params, state, x, gates=initializers.GATES)
    z = affine(params, state.h, x, state.c.dtype)
    return state, gate_activations(z, gate_activation, activation)
