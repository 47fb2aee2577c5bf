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

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.arguments import as_params
from lstm_jax.cells.cell import Activation, LSTMCellBase, identity
from lstm_jax.types import DType, Initializer, LSTMParams, LSTMState, PRNGKey, check_size


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
      gate_activation: activation of the gates.
      activation: activation of the candidate.

    Returns:
      `LSTMGates`, each ``[..., H]``, in the promoted dtype of the parameters and ``c``.

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
    return _without_sizes(params, gate_activation, activation).gates(params, state, x)


def lstm_step(
    params: LSTMParams,
    state: LSTMState | tuple[Float[Array, "... H"], Float[Array, "... H"]],
    x: Float[Array, "... I"],
    *,
    gate_activation: Activation = jax.nn.sigmoid,
    activation: Activation = jnp.tanh,
    on_candidate: Activation = identity,
) -> LSTMState:
    """Advance an LSTM one time step: ``c_t = f * c_{t-1} + i * g`` and ``h_t = o * tanh(c_t)``.

    The new state has the dtypes of the old one, whatever the parameters' dtype, so the step can
    be the body of a scan.

    Args:
      params: `LSTMParams`.
      state: ``(h_{t-1}, c_{t-1})``, each ``[..., H]``.
      x: input ``x_t`` ``[..., I]``.
      gate_activation: activation of the gates.
      activation: activation of the candidate, and of the cell state in ``h_t``.
      on_candidate: hook, applied to ``g`` before it enters the cell state.

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
    cell = _without_sizes(params, gate_activation, activation)
    return cell.step(params, state, x, on_candidate=on_candidate)


@dataclass(frozen=True, repr=False)
class LSTM(LSTMCellBase[LSTMParams, LSTMGates]):
    """The LSTM as a cell: ``c_t = f * c_{t-1} + i * g`` and ``h_t = o * tanh(c_t)``.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, 4H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, 4H]``.
      bias_init: initializer of the bias ``[4H]``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
      gate_activation: activation of the gates.
      activation: activation of the candidate, and of the cell state in ``h_t``.

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

    params_type = LSTMParams
    error_prefix = "lstm_"

    def equations(
        self, params: LSTMParams, z: jax.Array, c_tm1: jax.Array, on_candidate: Activation
    ) -> tuple[LSTMState, LSTMGates]:
        """``c_t = f * c_{t-1} + i * g`` and ``h_t = o * tanh(c_t)``."""
        z_i, z_f, z_g, z_o = jnp.split(z, self.gate_blocks, axis=-1)
        i = self.gate_activation(z_i)
        f = self.gate_activation(z_f)
        g = self.activation(z_g)
        o = self.gate_activation(z_o)
        c_t = f * c_tm1 + i * on_candidate(g)
        h_t = o * self.activation(c_t)
        return LSTMState(h_t, c_t), LSTMGates(i, f, g, o)


def float_dtype(kernel: Any) -> DType:
    """The dtype of a kernel; float32 where it has none, or not one of floats.

    >>> float_dtype(jnp.zeros((3, 20), jnp.bfloat16))
    dtype(bfloat16)
    """
    dtype = jnp.dtype(getattr(kernel, "dtype", jnp.float32))
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.dtype(jnp.float32)


def _without_sizes(params: Any, gate_activation: Activation, activation: Activation) -> LSTM:
    """An LSTM that only computes steps: they read the sizes from the parameters."""
    params = as_params(LSTMParams, params)
    cell = object.__new__(LSTM)
    object.__setattr__(cell, "dtype", float_dtype(getattr(params, "kernel", None)))
    object.__setattr__(cell, "gate_activation", gate_activation)
    object.__setattr__(cell, "activation", activation)
    return cell
