"""The LSTM with a projection: ``H`` memory cells, of which ``P`` projected units feed back.

    i, f, o = sigmoid(W [h_{t-1}, x_t] + b)        gates, H each, from P units
    g_t     = tanh(W_g [h_{t-1}, x_t] + b_g)       candidate
    c_t     = f_t * c_{t-1} + i_t * g_t            cell state, H units
    h_t     = W_p (o_t * tanh(c_t))                hidden state, P units

The recurrent kernel has ``P * 4H`` weights instead of ``H * 4H``. The paper's cells also have
peepholes; this cell has none, as in PyTorch and, by default, in TensorFlow.

Reference: Sak, Senior & Beaufays (2014), *Long short-term memory recurrent neural network
architectures for large scale acoustic modeling*, where it is called LSTMP.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.arguments import Shapes
from lstm_jax.cells.cell import Activation, LSTMCellBase, project
from lstm_jax.cells.lstm import LSTMGates
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
class ProjectedLSTM(LSTMCellBase[ProjectedLSTMParams, LSTMGates]):
    """The projected LSTM as a cell: ``h_t = W_p (o * tanh(c_t))``, with ``P`` units.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of memory cells ``H``.
      kernel_init: initializer of the input kernel ``[I, 4H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[P, 4H]``. Its blocks are not
        square, so none can be orthogonal; variance ``1 / P`` gives the gates the same scale.
      bias_init: initializer of the bias ``[4H]``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
      projection_size: number of units ``P`` of the output, which feed back; keyword only.
      projection_init: initializer of the projection ``[H, P]``.
      cell_clip: where given, ``c_t`` is clipped to ``[-cell_clip, cell_clip]``, before it enters
        ``h_t``.
      projection_clip: where given, ``h_t`` is clipped to ``[-projection_clip, projection_clip]``.
      gate_activation: activation of the gates.
      activation: activation of the candidate, and of the cell state in ``h_t``.

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

    params_type = ProjectedLSTMParams

    def equations(
        self, params: ProjectedLSTMParams, z: jax.Array, c_tm1: jax.Array, on_candidate: Activation
    ) -> tuple[LSTMState, LSTMGates]:
        """As the LSTM, with ``h_t = W_p (o * tanh(c_t))``, and both clipped where configured."""
        z_i, z_f, z_g, z_o = jnp.split(z, self.gate_blocks, axis=-1)
        i = self.gate_activation(z_i)
        f = self.gate_activation(z_f)
        g = self.activation(z_g)
        o = self.gate_activation(z_o)
        c_t = clipped(f * c_tm1 + i * on_candidate(g), self.cell_clip)
        h_t = project(o * self.activation(c_t), params.projection, z.dtype)
        h_t = clipped(h_t, self.projection_clip)
        return LSTMState(h_t, c_t), LSTMGates(i, f, g, o)

    def shapes(self, params: ProjectedLSTMParams) -> Shapes:
        """The shapes that a step expects, from the sizes of the cell."""
        I, H, P = self.input_size, self.hidden_size, self.projection_size  # noqa: E741
        return Shapes(
            params={
                "kernel": ((I, 4 * H), "[I, 4H]"),
                "recurrent_kernel": ((P, 4 * H), "[P, 4H]"),
                "bias": ((4 * H,), "[4H]"),
                "projection": ((H, P), "[H, P]"),
            },
            x=((I,), "I"),
            state={"h": ((P,), "P"), "c": ((H,), "H")},
            sizes=f"I = {I}, H = {H}, P = {P}",
        )

    @property
    def _recurrent_size(self) -> int:
        return self.projection_size

    def _init(self, key: PRNGKey) -> ProjectedLSTMParams:
        k_kernels, k_projection = jax.random.split(key)
        shape = (self.hidden_size, self.projection_size)
        projection = self.projection_init(k_projection, shape, self.policy.param)
        return ProjectedLSTMParams(*self._init_kernels(k_kernels), projection)


def clipped(values: jax.Array, bound: float | None) -> jax.Array:
    """The values clipped to ``[-bound, bound]``, or unchanged where `bound` is None.

    >>> clipped(jnp.array([-2.0, 0.5]), 1.0).tolist()
    [-1.0, 0.5]
    """
    return values if bound is None else jnp.clip(values, -bound, bound)
