"""The model of an experiment: recurrent layers and a linear readout, as pure functions."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

import lstm_jax as lj
from experiments.config.calls import activation, initializer
from experiments.config.components import find_component
from experiments.config.layer import CELLS, Clip, LayerConfig, Zoneout, own_fields, policy_of
from experiments.config.model import ModelConfig
from experiments.tasks.task import Task
from lstm_jax.initializers import (
    GATES,
    Chrono,
    EachGate,
    ForgetBias,
    ForgetGateOf,
    lecun_normal,
    preset,
    zeros,
)
from lstm_jax.options import Implementation
from lstm_jax.transforms.sizes import output_size
from lstm_jax.types import Cell, Initializer, PRNGKey, PyTree


class ReadoutParams(NamedTuple):
    """Parameters of the linear readout, for ``O`` outputs."""

    kernel: Float[Array, "H O"]
    bias: Float[Array, " O"]


class ModelParams(NamedTuple):
    """Parameters of the layers and of the readout."""

    cell: Any
    readout: ReadoutParams


@dataclass(frozen=True)
class Model:
    """Layers as one cell, and a linear readout: ``y_t = h_t W + b``."""

    cell: Cell[Any, Any]
    input_size: int
    output_size: int
    implementation: Implementation | None = None
    remat: int | None = None
    init_scales: tuple[float, ...] = (1.0,)

    def init(self, key: PRNGKey) -> ModelParams:
        """Initial parameters, drawn from a key."""
        k_cell, k_readout = jax.random.split(key)
        cell = self.cell.init(k_cell)
        shape = (self.features, self.output_size)
        return ModelParams(
            cell=_scaled(cell, self.init_scales),
            readout=ReadoutParams(lecun_normal(k_readout, shape), jnp.zeros(self.output_size)),
        )

    @property
    def features(self) -> int:
        """Number of features that the readout reads."""
        xs = jax.ShapeDtypeStruct((1, 1, *_shape(self.input_size)), jnp.float32)
        _, hs = jax.eval_shape(lambda p, xs: lj.unroll(self.cell, p, xs), self.cell_shapes, xs)
        return math.prod(hs.shape[2:])

    @property
    def cell_shapes(self) -> PyTree:
        """The shapes of the parameters of the layers."""
        return jax.eval_shape(self.cell.init, jax.random.key(0))

    def encode(self, inputs: Float[Array, "... I"] | Int[Array, "..."]) -> Float[Array, "... I"]:
        """Encode class indices as one-hot vectors; return features unchanged."""
        if jnp.issubdtype(inputs.dtype, jnp.floating):
            return inputs
        return jax.nn.one_hot(inputs, self.input_size)

    def apply(
        self,
        params: ModelParams,
        inputs: Array,
        lengths: Int[Array, " B"] | None = None,
        key: PRNGKey | None = None,
    ) -> Float[Array, "T B O"]:
        """Outputs of every step.

        Args:
          params: the parameters.
          inputs: features ``[T, B, I]``, or class indices ``[T, B]``.
          lengths: valid steps of every row; None if all are.
          key: random key of dropout and of other draws, in training; without one, nothing is drawn.

        Returns:
          The outputs ``[T, B, O]``.
        """
        _, hs = lj.unroll(
            self.cell,
            params.cell,
            self.encode(inputs),
            lengths=lengths,
            implementation=self.implementation,
            remat=self.remat,
            key=key,
        )
        return self.readout(params, hs)

    def readout(self, params: ModelParams, h: Float[Array, "... H"]) -> Float[Array, "... O"]:
        """The linear readout of hidden states ``h``, in the dtype of its own parameters."""
        y = h.astype(params.readout.kernel.dtype) @ params.readout.kernel
        return y + jax.lax.broadcast_to_rank(params.readout.bias, y.ndim)


def make_model(config: ModelConfig, task: Task) -> Model:
    """The model of a config, with the input and output sizes of the task.

    Raises:
      ValueError: if a layer does not fit: its cell has no such preset, a head does not divide
        its units, and the like.
    """
    cells: list[Any] = []
    inputs: Any = task.input_size
    for layer in config.layers:
        cells.append(layer_cell(layer, inputs))
        inputs = output_size(cells[-1])
    return Model(
        cell=cells[0] if len(cells) == 1 else lj.stack(*cells, dropout=config.dropout),
        input_size=task.input_size,
        output_size=task.output_size,
        implementation=config.implementation,
        remat=config.remat,
        init_scales=tuple(layer.init_scale for layer in config.layers),
    )


def layer_cell(layer: LayerConfig, inputs: int) -> Any:
    """The cell of one layer of a config, with its directions and transforms.

    Args:
      layer: the layer.
      inputs: number of its input features.

    Returns:
      A cell.

    Raises:
      ValueError: if the fields of the layer do not fit together, or to its inputs.
    """
    kind = find_component("cell", layer.cell, CELLS)
    fields = {field.name for field in dataclasses.fields(kind)}
    arguments = {"input_size" if "input_size" in fields else "input_shape": inputs}
    if "dtype" in fields:
        arguments["dtype"] = policy_of(layer.dtype)
    hidden_size = getattr(layer, "hidden_size", None)
    if layer.preset is not None:
        arguments |= preset(
            layer.preset, inputs, hidden_size, cell=kind.__name__, t_max=layer.chrono_t_max
        )
    elif layer.forget_bias is not None or layer.chrono_t_max is not None:
        arguments["bias_init"] = _bias_init(layer, kind)
    for name in own_fields(type(layer)):
        value = getattr(layer, name)
        if isinstance(value, str) and name.endswith("_init"):
            value = initializer(value)
        elif isinstance(value, str) and name.endswith("activation"):
            value = activation(value)
        # None stands for the default of the cell.
        if value is not None:
            arguments[name] = value
    cell = kind(**arguments)
    if layer.weight_drop:
        cell = lj.weight_drop(cell, layer.weight_drop)
    if layer.candidate_dropout:
        cell = lj.candidate_dropout(cell, layer.candidate_dropout)
    if layer.recurrent_dropout:
        cell = lj.recurrent_dropout(cell, layer.recurrent_dropout)
    if layer.zoneout != Zoneout():
        cell = lj.zoneout(cell, **dataclasses.asdict(layer.zoneout))
    if layer.clip != Clip():
        cell = lj.clip(cell, **dataclasses.asdict(layer.clip))
    if layer.learned_initial_state:
        cell = lj.learned_initial_state(cell)
    if layer.bidirectional:
        cell = lj.bidirectional(cell, merge=layer.merge, tied=layer.tied)
    if layer.residual:
        cell = lj.residual(cell)
    if layer.skip:
        cell = lj.skip(cell)
    return lj.dropout(cell, layer.input_dropout) if layer.input_dropout else cell


def _bias_init(layer: LayerConfig, kind: Any) -> Initializer:
    """The bias with the layer's forget bias or chrono timescales in the gate that forgets."""
    given = "forget_bias" if layer.chrono_t_max is None else "chrono_t_max"
    default = next((f.default for f in dataclasses.fields(kind) if f.name == "bias_init"), None)
    if kind is lj.GRU:
        # The update gate keeps the state as the forget gate of an LSTM does.
        default = ForgetBias(0.0, gate=1, gates=3)
    if not isinstance(default, ForgetBias):
        raise ValueError(
            f"{given}: must be none for the cell {layer.cell!r}, which has no bias of a forget gate"
        )
    if layer.chrono_t_max is None:
        return ForgetBias(layer.forget_bias, default.gate, default.gates)
    chrono = Chrono(layer.chrono_t_max)
    if default.gates == GATES:
        return chrono
    blocks: list[Initializer] = [zeros] * default.gates
    blocks[default.gate] = ForgetGateOf(chrono)
    return EachGate(tuple(blocks))


def _scaled(params: PyTree, scales: tuple[float, ...]) -> PyTree:
    """The parameters of the layers, with their kernels times the scale of each layer."""

    def scaled(layer: PyTree, scale: float) -> PyTree:
        if isinstance(scale, float) and scale == 1.0:
            return layer
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: (
                (leaf * scale).astype(leaf.dtype)
                if "kernel" in jax.tree_util.keystr(path[-1:])
                else leaf
            ),
            layer,
        )

    if len(scales) == 1:
        return scaled(params, scales[0])
    return tuple(scaled(layer, scale) for layer, scale in zip(params, scales, strict=True))


def _shape(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)
