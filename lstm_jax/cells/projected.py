"""The LSTM with a projection: many memory cells, and few units that feed back.

    i, f, o = sigmoid(W [h_{t-1}, x_t] + b)        gates, H each, from P units
    g_t     = tanh(W_g [h_{t-1}, x_t] + b_g)       candidate
    c_t     = f_t * c_{t-1} + i_t * g_t            cell state, H units
    h_t     = W_p (o_t * tanh(c_t))                hidden state, P units

The weights of a recurrent kernel grow with ``P * H`` in place of ``H * H``. The paper's cells have
peepholes as well; these have none, as in PyTorch and in TensorFlow by default.

Reference: Sak, Senior & Beaufays (2014), *Long short-term memory recurrent neural network
architectures for large scale acoustic modeling*, where it is called LSTMP.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.cell import Activation, KernelCell, affine, as_state, clipped, identity, project
from lstm_jax.cells.checks import check_axes, check_params
from lstm_jax.cells.lstm import LSTMGates, gate_activations
from lstm_jax.types import Initializer, LSTMState, PRNGKey


class ProjectedLSTMParams(NamedTuple):
    """Parameters of the projected LSTM; gate blocks in the order i, f, g, o along the last axis.

    Attributes:
      kernel: input kernel ``[I, 4H]``.
      recurrent_kernel: recurrent kernel ``[P, 4H]``.
      bias: bias ``[4H]``, the forget-gate bias included.
      projection: projection ``[H, P]``.
    """

    kernel: Float[Array, "I 4*H"]
    recurrent_kernel: Float[Array, "P 4*H"]
    bias: Float[Array, " 4*H"]
    projection: Float[Array, "H P"]


@dataclass(frozen=True, repr=False)
class ProjectedLSTM(KernelCell):
    """The projected LSTM as a cell: ``h_t = W_p (o * tanh(c_t))``, with ``P`` units.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of memory cells ``H``.
      kernel_init: initializer of the input kernel ``[I, 4H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[P, 4H]``. Its blocks are not
        square, so none can be orthogonal; variance ``1 / P`` gives the gates the same scale.
      bias_init: initializer of the bias ``[4H]``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
      projection_size: number of units ``P`` that are shown and feed back; by keyword.
      projection_init: initializer of the projection ``[H, P]``.
      cell_clip: where given, ``c_t`` is kept within ``[-cell_clip, cell_clip]``, before it is
        squashed on its way out.
      projection_clip: where given, ``h_t`` is kept within ``[-projection_clip, projection_clip]``.
      gate_activation: squashes the gates.
      activation: squashes the candidate, and the cell state on its way out.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1, or a clip is not positive.

    Reference:
      Sak, Senior & Beaufays (2014), *Long short-term memory recurrent neural network
      architectures for large scale acoustic modeling*.

    >>> cell = ProjectedLSTM(input_size=3, hidden_size=5, projection_size=2)
    >>> params = cell.init(jax.random.key(0))
    >>> state = cell.step(params, cell.initial_state((4,)), jnp.ones((4, 3)))
    >>> state.h.shape, state.c.shape
    ((4, 2), (4, 5))
    """

    projection_size: int = field(kw_only=True)
    recurrent_kernel_init: Initializer = initializers.lecun_normal
    bias_init: Initializer = initializers.ForgetBias(1.0)
    projection_init: Initializer = initializers.lecun_normal
    cell_clip: float | None = None
    projection_clip: float | None = None
    gate_activation: Activation = jax.nn.sigmoid
    activation: Activation = jnp.tanh

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("cell_clip", "projection_clip"):
            clip = getattr(self, name)
            if clip is not None and not clip > 0:
                raise ValueError(f"ProjectedLSTM: {name} must be above 0; got {clip}")

    def init(self, key: PRNGKey) -> ProjectedLSTMParams:
        """Draw parameters.

        Args:
          key: typed random key.

        Returns:
          `ProjectedLSTMParams`.
        """
        k_kernels, k_projection = jax.random.split(key)
        shape = (self.hidden_size, self.projection_size)
        return ProjectedLSTMParams(
            *self.init_kernels(k_kernels, initializers.GATES, self.projection_size),
            projection=self.projection_init(k_projection, shape, self.policy.param),
        )

    def initial_state(self, batch_shape: Sequence[int] = ()) -> LSTMState:
        """Zeros for h and c.

        Args:
          batch_shape: the batch axes.

        Returns:
          `LSTMState`, h ``[*batch_shape, P]`` and c ``[*batch_shape, H]``.
        """
        return LSTMState(
            h=jnp.zeros((*batch_shape, self.projection_size), self.policy.output),
            c=jnp.zeros((*batch_shape, self.hidden_size), self.policy.cell_state),
        )

    def gates(
        self, params: ProjectedLSTMParams, state: LSTMState, x: Float[Array, "... I"]
    ) -> LSTMGates:
        """The gates and the candidate of one step: ``i, f, o = sigmoid(.)`` and ``g = tanh(.)``.

        Args:
          params: `ProjectedLSTMParams`.
          state: ``(h_{t-1}, c_{t-1})``, ``[..., P]`` and ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          `LSTMGates`, each ``[..., H]``.

        Raises:
          TypeError, ValueError: as `step`.
        """
        return self._checked_gates("ProjectedLSTM.gates", params, state, x)[2]

    def step(
        self,
        params: ProjectedLSTMParams,
        state: LSTMState,
        x: Float[Array, "... I"],
        *,
        on_candidate: Callable[[jax.Array], jax.Array] = identity,
    ) -> LSTMState:
        """Advance one time step: ``c_t = f * c_{t-1} + i * g`` and ``h_t = W_p (o * tanh(c_t))``.

        Args:
          params: `ProjectedLSTMParams`.
          state: ``(h_{t-1}, c_{t-1})``, ``[..., P]`` and ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.
          on_candidate: applied to ``g`` before it enters the cell state.

        Returns:
          `LSTMState`, ``[..., P]`` and ``[..., H]``, with the dtypes of `state`.

        Raises:
          TypeError: when `state` is not a tuple of two.
          ValueError: when the shapes of `params`, `state` and `x` do not fit the cell or each
            other, or their batch axes are not equal.
        """
        params, state, (i, f, g, o) = self._checked_gates("ProjectedLSTM.step", params, state, x)
        h_tm1, c_tm1 = state
        c_t = clipped(f * c_tm1.astype(f.dtype) + i * on_candidate(g), self.cell_clip)
        h_t = project(o * self.activation(c_t), params.projection, f.dtype)
        h_t = clipped(h_t, self.projection_clip)
        return LSTMState(h_t.astype(h_tm1.dtype), c_t.astype(c_tm1.dtype))

    def _checked_gates(
        self, function: str, params: ProjectedLSTMParams, state: LSTMState, x: jax.Array
    ) -> tuple[ProjectedLSTMParams, LSTMState, LSTMGates]:
        state, x = as_state(function, LSTMState, state), jnp.asarray(x)
        H, P = self.hidden_size, self.projection_size
        width = initializers.GATES * H
        shapes = {
            "kernel": ((self.input_size, width), "[I, 4H]"),
            "recurrent_kernel": ((P, width), "[P, 4H]"),
            "bias": ((width,), "[4H]"),
            "projection": ((H, P), "[H, P]"),
        }
        check_params(function, params, shapes, f"I = {self.input_size}, H = {H}, P = {P}")
        check_axes(function, state, x, self.input_size, {"h": (P, "P"), "c": (H, "H")})
        params = self.in_compute_dtype(params)
        z = affine(params, state.h, x, state.c.dtype)
        return params, state, gate_activations(z, self.gate_activation, self.activation)
