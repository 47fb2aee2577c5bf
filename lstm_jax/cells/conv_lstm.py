"""The convolutional LSTM: the state has spatial axes, and matrix products are convolutions.

    i_t = sigmoid(W_i * x_t + R_i * h_{t-1} + p_i c_{t-1} + b_i)   input gate
    f_t = sigmoid(W_f * x_t + R_f * h_{t-1} + p_f c_{t-1} + b_f)   forget gate
    g_t = tanh   (W_g * x_t + R_g * h_{t-1} + b_g)                 candidate
    c_t = f_t c_{t-1} + i_t g_t                                    cell state
    o_t = sigmoid(W_o * x_t + R_o * h_{t-1} + p_o c_t + b_o)       output gate
    h_t = o_t tanh(c_t)                                            hidden state

Here ``*`` is a convolution; the other products are elementwise. The state has the output grid of
the input's convolution; the state's own convolution keeps that grid.

Reference: Shi et al. (2015), *Convolutional LSTM network: a machine learning approach for
precipitation nowcasting*.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.arguments import Shapes, as_params
from lstm_jax.cells.cell import Activation, CellBase, identity, over_rows
from lstm_jax.cells.lstm import LSTMGates
from lstm_jax.cells.windows import Padding, as_padding, as_shape, as_window, convolve, output_grid
from lstm_jax.types import (
    DType,
    Initializer,
    LSTMState,
    Policy,
    PRNGKey,
    check_size,
    promote_dtypes,
)

PEEPHOLES = 3
"""Blocks of the peephole weights: i, f, o."""


class ConvLSTMParams(NamedTuple):
    """Parameters of the convolutional LSTM; blocks in the order i, f, g, o along the last axis.

    Attributes:
      kernel: input kernel ``[*kernel_size, I, 4H]``.
      recurrent_kernel: recurrent kernel ``[*recurrent_kernel_size, H, 4H]``.
      bias: bias ``[4H]``, shared by all grid points, the forget-gate bias included.
      peephole: weights from the cell state to the gates ``[*grid, 3H]``, blocks i, f, o, separate
        for each grid point; None without peepholes.
    """

    kernel: Float[Array, "*K I 4*H"]
    recurrent_kernel: Float[Array, "*R H 4*H"]
    bias: Float[Array, " 4*H"]
    peephole: Float[Array, "*grid 3*H"] | None = None


def delta_orthogonal_per_gate(
    key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32
) -> Float[Array, "*R H k*H"]:
    """A square orthogonal block for each gate at the centre of the window, zeros around it.

    The convolution then keeps the norm of the state, as an orthogonal matrix does.

    Args:
      key: typed random key.
      shape: ``(*R, H, kH)`` for ``k`` gates.
      dtype: dtype of the result.

    Returns:
      The recurrent kernel, of `shape`.

    Raises:
      ValueError: when `shape` does not end in ``(H, kH)``.

    Reference:
      Xiao et al. (2018), *Dynamical isometry and a mean field theory of CNNs*.

    >>> kernel = delta_orthogonal_per_gate(jax.random.key(0), (3, 2, 8))
    >>> [bool(tap.any()) for tap in kernel]
    [False, True, False]
    """
    # The tap that "SAME" padding aligns with the output, for even sizes as well.
    centre = tuple((size - 1) // 2 for size in shape[:-2])
    block = initializers.orthogonal_per_gate(key, shape[-2:], dtype)
    return jnp.zeros(tuple(shape), dtype).at[centre].set(block)


@dataclass(frozen=True, repr=False)
class ConvLSTM(CellBase):
    """The convolutional LSTM as a cell, over one, two or three spatial axes.

    A single number for `kernel_size`, `strides`, `kernel_dilation` or `recurrent_kernel_size`
    applies to every spatial axis. Equal numbers for all axes are stored as a single number.

    Args:
      input_shape: shape of one input: its spatial axes, then ``I`` channels.
      hidden_size: number of hidden channels ``H``.
      kernel_size: size of the window on the input.
      strides: strides of the window on the input. Above 1 the state's grid is coarser.
      padding: "SAME", "VALID", or ``(before, after)`` for each spatial axis of the input.
      recurrent_kernel_size: size of the window on the state; `kernel_size` by default. Its stride
        is 1, with zero padding.
      peephole: whether the gates read the cell state, with separate weights for each grid point.
      kernel_init: initializer of the input kernel ``[*kernel_size, I, 4H]``.
      recurrent_kernel_init: initializer of the recurrent kernel
        ``[*recurrent_kernel_size, H, 4H]``.
      bias_init: initializer of the bias ``[4H]``.
      peephole_init: initializer of the peephole weights ``[*grid, 3H]``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
      gate_activation: activation of the gates.
      activation: activation of the candidate, and of the cell state in ``h_t``.
      kernel_dilation: distance between neighbours in the window on the input: 2 leaves out every
        second place. The window on the state is not dilated, as in Keras.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1, the number of axes does not fit, `padding` is none of the
        three, or the window is larger than the input with its padding.

    Reference:
      Shi et al. (2015), *Convolutional LSTM network: a machine learning approach for precipitation
      nowcasting*.

    >>> cell = ConvLSTM(input_shape=(8, 8, 3), hidden_size=4, kernel_size=3, strides=2)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.initial_state((2,)), jnp.ones((2, 8, 8, 3))).h.shape
    (2, 4, 4, 4)
    """

    input_shape: Sequence[int]
    hidden_size: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Padding = "SAME"
    recurrent_kernel_size: int | Sequence[int] | None = None
    peephole: bool = False
    kernel_init: Initializer = initializers.lecun_normal
    recurrent_kernel_init: Initializer = delta_orthogonal_per_gate
    bias_init: Initializer = initializers.ForgetBias(1.0)
    peephole_init: Initializer = initializers.zeros
    dtype: DType | Policy = jnp.float32
    gate_activation: Activation = jax.nn.sigmoid
    activation: Activation = jnp.tanh
    kernel_dilation: int | Sequence[int] = 1

    params_type = ConvLSTMParams
    state_type = LSTMState

    def __post_init__(self) -> None:
        shape = as_shape("ConvLSTM", "input_shape", self.input_shape)
        if not 2 <= len(shape) <= 4:
            raise ValueError(
                "ConvLSTM: input_shape must be one to three spatial axes and the channels;"
                f" got {shape}"
            )
        axes = len(shape) - 1
        check_size("ConvLSTM", "hidden_size", self.hidden_size)
        policy = self.policy
        settled = {
            "input_shape": shape,
            "kernel_size": as_window("ConvLSTM", "kernel_size", self.kernel_size, axes),
            "strides": as_window("ConvLSTM", "strides", self.strides, axes),
            "kernel_dilation": as_window("ConvLSTM", "kernel_dilation", self.kernel_dilation, axes),
            "padding": as_padding("ConvLSTM", self.padding, axes),
            "recurrent_kernel_size": None,
            "dtype": policy.param if policy == Policy(policy.param) else policy,
        }
        if self.recurrent_kernel_size is not None:
            size = as_window("ConvLSTM", "recurrent_kernel_size", self.recurrent_kernel_size, axes)
            settled["recurrent_kernel_size"] = None if size == settled["kernel_size"] else size
        # One form for each meaning, so that equal cells compare equal.
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        if min(self.grid) < 1:
            raise ValueError(
                "ConvLSTM: kernel_size must fit into the input with its padding; got kernel_size"
                f" {self.kernel_size}, kernel_dilation {self.kernel_dilation}, input_shape {shape}"
                f" and padding {self.padding!r}"
            )

    @property
    def grid(self) -> tuple[int, ...]:
        """The spatial axes of the state.

        >>> ConvLSTM((9, 8, 3), 4, kernel_size=3, strides=2, padding="VALID").grid
        (4, 3)
        """
        return output_grid(
            tuple(self.input_shape[:-1]),
            self._per_axis(self.kernel_size),
            self._per_axis(self.strides),
            self.padding,
            self._per_axis(self.kernel_dilation),
        )

    def batch_shape(self, x: Float[Array, "... I"]) -> tuple[int, ...]:
        """The batch axes of an input: all but its spatial axes and channels.

        Args:
          x: input ``[..., *spatial, I]``, or anything with its shape.

        Returns:
          The leading axes.

        >>> ConvLSTM((8, 8, 3), 4, kernel_size=3).batch_shape(jnp.ones((2, 5, 8, 8, 3)))
        (2, 5)
        """
        return tuple(x.shape[: -len(self.input_shape)])

    def init(self, key: PRNGKey) -> ConvLSTMParams:
        """Draw parameters.

        Args:
          key: typed random key.

        Returns:
          `ConvLSTMParams`.
        """
        initializer = {
            "kernel": self.kernel_init,
            "recurrent_kernel": self.recurrent_kernel_init,
            "bias": self.bias_init,
            "peephole": self.peephole_init,
        }
        keys = dict(zip(initializer, jax.random.split(key, len(initializer)), strict=True))
        drawn = {
            name: initializer[name](keys[name], shape, self.policy.param)
            for name, (shape, _) in self._param_shapes.items()
        }
        return ConvLSTMParams(**drawn)

    def initial_state(self, batch_shape: Sequence[int] = ()) -> LSTMState:
        """Zeros for h and c.

        Args:
          batch_shape: the batch axes.

        Returns:
          `LSTMState`, each ``[*batch_shape, *grid, H]``, c in float32 at least unless the policy
          sets its dtype.
        """
        shape = (*batch_shape, *self.grid, self.hidden_size)
        return LSTMState(
            h=jnp.zeros(shape, self.policy.output), c=jnp.zeros(shape, self.policy.cell_state)
        )

    def gates(
        self, params: ConvLSTMParams, state: LSTMState, x: Float[Array, "... I"]
    ) -> LSTMGates:
        """The gates and the candidate of one step.

        Args:
          params: `ConvLSTMParams`.
          state: ``(h_{t-1}, c_{t-1})``, each ``[..., *grid, H]``.
          x: input ``x_t`` ``[..., *spatial, I]``.

        Returns:
          `LSTMGates`, each ``[..., *grid, H]``, in the promoted dtype of the parameters and ``c``.

        Raises:
          TypeError, ValueError: as `step`.
        """
        return self._advance("ConvLSTM.gates", params, state, x, identity)[1]

    def step(
        self,
        params: ConvLSTMParams,
        state: LSTMState,
        x: Float[Array, "... I"],
        *,
        on_candidate: Activation = identity,
    ) -> LSTMState:
        """Advance one time step: ``c_t = f c_{t-1} + i g`` and ``h_t = o tanh(c_t)``.

        Args:
          params: `ConvLSTMParams`.
          state: ``(h_{t-1}, c_{t-1})``, each ``[..., *grid, H]``.
          x: input ``x_t`` ``[..., *spatial, I]``.
          on_candidate: hook, applied to ``g`` before it enters the cell state.

        Returns:
          `LSTMState`, each ``[..., *grid, H]``, with the dtypes of `state`.

        Raises:
          TypeError: when `state` is not a tuple of two, or an array is complex.
          ValueError: when the shapes of `params`, `state` and `x` do not fit together, or their
            batch axes are not equal.
        """
        return self._advance("ConvLSTM.step", params, state, x, on_candidate)[0]

    def _advance(
        self,
        function: str,
        params: ConvLSTMParams,
        state: LSTMState,
        x: jax.Array,
        on_candidate: Activation,
    ) -> tuple[LSTMState, LSTMGates]:
        """The new state and the gates at once, as the output gate may read the new cell state."""
        params, state, x = self.checked(function, params, state, x)
        params = self.in_compute_dtype(params)
        h_tm1, c_tm1 = state
        dtype = promote_dtypes(params.kernel.dtype, c_tm1.dtype)
        strides, dilation = map(self._per_axis, (self.strides, self.kernel_dilation))
        z = convolve(x, params.kernel, strides, self.padding, dtype, dilation)
        z = z + convolve(h_tm1, params.recurrent_kernel, self._per_axis(1), "SAME", dtype)
        z = z + over_rows(params.bias, z)
        z_i, z_f, z_g, z_o = jnp.split(z, initializers.GATES, axis=-1)
        c, p_o = c_tm1.astype(dtype), None
        if params.peephole is not None:
            p_i, p_f, p_o = jnp.split(over_rows(params.peephole, z), PEEPHOLES, axis=-1)
            z_i, z_f = z_i + p_i * c, z_f + p_f * c
        i, f, g = self.gate_activation(z_i), self.gate_activation(z_f), self.activation(z_g)
        c_t = f * c + i * on_candidate(g)
        o = self.gate_activation(z_o if p_o is None else z_o + p_o * c_t)
        h_t = o * self.activation(c_t)
        new = LSTMState(h_t.astype(h_tm1.dtype), c_t.astype(c_tm1.dtype))
        return new, LSTMGates(i=i, f=f, g=g, o=o)

    def checked(self, function: str, params: Any, state: Any, x: Any) -> tuple[Any, Any, jax.Array]:
        """The arguments of one step, once they fit together."""
        params, input_shape = as_params(ConvLSTMParams, params), tuple(self.input_shape)
        if self.peephole != (params.peephole is not None):
            expected = "an array" if self.peephole else "None"
            raise ValueError(
                f"{function}: params.peephole must be {expected} with peephole={self.peephole};"
                f" got {type(params.peephole).__name__}"
            )
        if jnp.shape(x)[-len(input_shape) :] != input_shape:
            raise ValueError(
                f"{function}: x must have shape [..., *input_shape] with input_shape ="
                f" {input_shape}; got {jnp.shape(x)}"
            )
        return super().checked(function, params, state, x)

    def shapes(self, params: Any) -> Shapes:
        """The shapes that a step expects, from the sizes of the cell."""
        H, input_shape = self.hidden_size, tuple(self.input_shape)
        return Shapes(
            params=self._param_shapes,
            x=(input_shape, "[*input_shape]"),
            state=dict.fromkeys(LSTMState._fields, ((*self.grid, H), "[*grid, H]")),
            sizes=f"I = {input_shape[-1]}, H = {H}",
        )

    @property
    def _param_shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """The shape of each parameter, and its axes as text."""
        H, window = self.hidden_size, self._per_axis(self.kernel_size)
        of_state = self.recurrent_kernel_size
        recurrent = window if of_state is None else self._per_axis(of_state)
        shapes = {
            "kernel": ((*window, self.input_shape[-1], 4 * H), f"[*{window}, I, 4H]"),
            "recurrent_kernel": ((*recurrent, H, 4 * H), f"[*{recurrent}, H, 4H]"),
            "bias": ((4 * H,), "[4H]"),
        }
        if self.peephole:
            shapes["peephole"] = (*self.grid, PEEPHOLES * H), f"[*{self.grid}, 3H]"
        return shapes

    def _per_axis(self, size: int | Sequence[int]) -> tuple[int, ...]:
        return (size,) * (len(self.input_shape) - 1) if isinstance(size, int) else tuple(size)
