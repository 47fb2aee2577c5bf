"""The model of a config: a cell unrolled over time, with a linear readout at every step."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

import lstm_jax as lj
from experiments.config.schema import ModelConfig
from experiments.tasks import Task
from lstm_jax.initializers import Chrono, ForgetBias, lecun_normal
from lstm_jax.options import Implementation
from lstm_jax.types import Cell, PRNGKey


class ReadoutParams(NamedTuple):
    """Parameters of the readout: ``kernel [H, O]`` and ``bias [O]``."""

    kernel: Float[Array, "H O"]
    bias: Float[Array, " O"]


class ModelParams(NamedTuple):
    """Parameters of the cell and of the readout."""

    cell: Any
    readout: ReadoutParams


@dataclass(frozen=True)
class Model:
    """A cell and a linear readout: ``y_t = h_t W + b``."""

    cell: Cell[Any, Any]
    input_size: int
    output_size: int
    implementation: Implementation | None = None
    remat: int | None = None

    def init(self, key: PRNGKey) -> ModelParams:
        """Initial parameters, drawn from a key."""
        k_cell, k_readout = jax.random.split(key)
        hidden_size = self.cell.initial_state()[0].shape[-1]
        shape = (hidden_size, self.output_size)
        return ModelParams(
            cell=self.cell.init(k_cell),
            readout=ReadoutParams(lecun_normal(k_readout, shape), jnp.zeros(self.output_size)),
        )

    def encode(self, inputs: Float[Array, "... I"] | Int[Array, "..."]) -> Float[Array, "... I"]:
        """Encode class indices as one-hot vectors; return features unchanged."""
        if jnp.issubdtype(inputs.dtype, jnp.floating):
            return inputs
        return jax.nn.one_hot(inputs, self.input_size)

    def apply(
        self, params: ModelParams, inputs: Array, lengths: Int[Array, " B"] | None = None
    ) -> Float[Array, "T B O"]:
        """Outputs of every step, for inputs ``[T, B, I]`` or class indices ``[T, B]``."""
        _, hs = lj.unroll(
            self.cell,
            params.cell,
            self.encode(inputs),
            lengths=lengths,
            implementation=self.implementation,
            remat=self.remat,
        )
        return self.readout(params, hs)

    def readout(self, params: ModelParams, h: Float[Array, "... H"]) -> Float[Array, "... O"]:
        """The linear readout of hidden states ``h``."""
        y = h @ params.readout.kernel
        return y + jax.lax.broadcast_to_rank(params.readout.bias, y.ndim)


def make_model(config: ModelConfig, task: Task) -> Model:
    """The model of a config, with the input and output sizes of the task."""
    match config.cell:
        case "lstm":
            t_max = config.chrono_t_max
            bias = ForgetBias(config.forget_bias) if t_max is None else Chrono(t_max)
            cell = lj.LSTM(task.input_size, config.hidden_size, bias_init=bias)
        case "tanh_rnn":
            cell = lj.TanhRNN(task.input_size, config.hidden_size)
    return Model(cell, task.input_size, task.output_size, config.implementation, config.remat)
