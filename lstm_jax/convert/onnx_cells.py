"""Cells for what only ONNX nodes have: the general LSTM of ONNX, and a direction without its pair.

The LSTM of ONNX has an activation of its own in ``h_t``, and peepholes together with coupled gates:

    i_t = f(W_i [h_{t-1}, x_t] + p_i * c_{t-1} + b_i)        input gate
    f_t = f(W_f [h_{t-1}, x_t] + p_f * c_{t-1} + b_f)        forget gate; 1 - i_t where coupled
    g_t = g(W_g [h_{t-1}, x_t] + b_g)                        candidate
    c_t = f_t * c_{t-1} + i_t * g_t                          cell state
    o_t = f(W_o [h_{t-1}, x_t] + p_o * c_t + b_o)            output gate
    h_t = o_t * h(c_t)                                       hidden state
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from lstm_jax.cells import PeepholeLSTM, PeepholeLSTMParams
from lstm_jax.cells.cell import Activation, over_rows
from lstm_jax.cells.lstm import LSTMGates
from lstm_jax.cells.peephole import PEEPHOLES
from lstm_jax.transforms import SequenceCall, Transform, child_key
from lstm_jax.transforms.step_rng import StepRng
from lstm_jax.transforms.transform import AnyCell
from lstm_jax.types import LSTMState, PRNGKey, PyTree


@dataclass(frozen=True, repr=False)
class OnnxLSTM(PeepholeLSTM):
    """The LSTM of ONNX in general, for nodes that no other cell computes.

    Its parameters are those of `PeepholeLSTM`. The peepholes are zeros for a node without; the
    block of the forget gate has no effect where the gates are coupled.

    Args:
      output_activation: activation of the cell state in ``h_t``.
      coupled: whether the forget gate is ``1 - i``.

    Reference:
      ONNX, *Operators: LSTM*.

    >>> cell = OnnxLSTM(3, 5, coupled=True, output_activation=jax.nn.relu)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.initial_state((2,)), jnp.ones((2, 3))).h.shape
    (2, 5)
    """

    output_activation: Activation = jnp.tanh
    coupled: bool = False

    def equations(
        self, params: PeepholeLSTMParams, z: jax.Array, c_tm1: jax.Array, on_candidate: Activation
    ) -> tuple[LSTMState, LSTMGates]:
        """The equations at the top of this file."""
        z_i, z_f, z_g, z_o = jnp.split(z, self.gate_blocks, axis=-1)
        p_i, p_f, p_o = jnp.split(over_rows(params.peephole, z), PEEPHOLES, axis=-1)
        i = self.gate_activation(z_i + p_i * c_tm1)
        f = 1.0 - i if self.coupled else self.gate_activation(z_f + p_f * c_tm1)
        g = self.activation(z_g)
        c_t = f * c_tm1 + i * on_candidate(g)
        o = self.gate_activation(z_o + p_o * c_t)
        h_t = o * self.output_activation(c_t)
        return LSTMState(h_t, c_t), LSTMGates(i, f, g, o)


@dataclass(frozen=True, repr=False)
class Backward(Transform):
    """A cell in the opposite direction of time: from the last step to the first.

    The outputs stay in the order of the inputs. A short row starts at its own end.

    Args:
      cell: any cell.

    >>> import lstm_jax as lj
    >>> cell, xs = lj.LSTM(3, 5), jnp.ones((7, 3))
    >>> params = cell.init(jax.random.key(0))
    >>> _, ys = lj.unroll(Backward(cell), params, xs)
    >>> bool((ys == lj.unroll(cell, params, xs, reverse=True)[1]).all())
    True
    """

    has_steps: ClassVar[bool] = False

    cell: AnyCell

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, PyTree]:
        """Raise: it starts at the end of the sequence, so there is no single step.

        Raises:
          TypeError: always.
        """
        raise TypeError(
            "Backward: there is no single step, as it starts at the end of the sequence; use unroll"
        )

    def apply_sequence(
        self, call: SequenceCall, params: PyTree, xs: PyTree, state: PyTree, key: PRNGKey | None
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Unroll the cell in the opposite direction."""
        return call.unroll_child(self.cell, params, xs, state, child_key(key, 0), opposite=True)
