"""The model of an experiment: recurrent layers and a readout, as pure functions."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

import lstm_jax as lj
from experiments.config.fields import FieldErrors
from experiments.config.layer import LayerConfig
from experiments.config.model import ModelConfig
from experiments.kernels import are_kernels
from experiments.layer_cell import Features, check_layer, layer_cell, output_features
from experiments.readout import LINEAR, Readout, ReadoutParams, make_readout
from experiments.tasks.task import Task
from lstm_jax.options import Implementation
from lstm_jax.types import Cell, PRNGKey, PyTree


class ModelParams(NamedTuple):
    """Parameters of the layers and of the readout."""

    cell: Any
    readout: ReadoutParams


@dataclass(frozen=True)
class Model:
    """Layers as one cell, and a readout: ``y_t = a(h_t W + b)``.

    Attributes:
      cell: the layers; a stack where there are several.
      input_size: number of input features or classes, or the shape of an input.
      features: number of features ``H`` that the readout reads.
      output_size: number of outputs ``O``.
      implementation: backend of the layers; None for the fastest.
      remat: steps between the states kept for the gradient; None to keep every step.
      init_scales: factor of the initial kernels of every layer.
      head: the readout, without its parameters.
    """

    cell: Cell[Any, Any]
    input_size: Features
    features: int
    output_size: int
    implementation: Implementation | None = None
    remat: int | None = None
    init_scales: tuple[float, ...] = (1.0,)
    head: Readout = LINEAR

    def init(self, key: PRNGKey) -> ModelParams:
        """Initial parameters, drawn from a key."""
        k_cell, k_readout = jax.random.split(key)
        cell = self.cell.init(k_cell)
        return ModelParams(
            cell=_scaled(cell, self.init_scales),
            readout=self.head.init(k_readout, self.features, self.output_size),
        )

    def encode(self, inputs: Float[Array, "... I"] | Int[Array, "..."]) -> Float[Array, "... I"]:
        """Encode class indices as one-hot vectors; return features unchanged."""
        if jnp.issubdtype(inputs.dtype, jnp.floating):
            return inputs
        if not isinstance(self.input_size, int):
            raise ValueError(f"inputs of the shape {self.input_size} must be floats, not classes")
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
        xs = self.encode(inputs)
        _, hs = lj.unroll(
            self.cell,
            params.cell,
            xs,
            lengths=lengths,
            implementation=self.implementation,
            remat=self.remat,
            key=key,
        )
        # The hidden state of a convolutional layer has the axes of its grid.
        leading = xs.ndim - (1 if isinstance(self.input_size, int) else len(self.input_size))
        return self.readout(params, hs.reshape(*hs.shape[:leading], self.features))

    def readout(self, params: ModelParams, h: Float[Array, "... H"]) -> Float[Array, "... O"]:
        """The readout of hidden states ``h``, in the dtype of its own parameters."""
        return self.head(params.readout, h)


def make_model(config: ModelConfig, task: Task) -> Model:
    """The model of a config, with the input and output sizes of the task.

    Raises:
      FieldErrors: if a layer does not fit: its cell has no such preset, a head does not divide
        its units, and the like; or the readout does not.

    >>> from experiments.config.model import model_config
    >>> from experiments.tasks import Adding
    >>> make_model(model_config("gru", hidden_size=8, layers=2), Adding()).cell
    Stack(cells=(GRU(input_size=2, hidden_size=8), GRU(input_size=8, hidden_size=8)))
    """
    cells, outputs = _of_each_layer(config, task, layer_cell)
    features = outputs if isinstance(outputs, int) else math.prod(outputs)
    try:
        head = make_readout(config.readout, features, task.output_size)
    except FieldErrors as error:
        raise error.below("readout") from None
    return Model(
        cell=cells[0] if len(cells) == 1 else lj.stack(*cells, dropout=config.dropout),
        input_size=input_features(task),
        features=features,
        output_size=task.output_size,
        implementation=config.implementation,
        remat=config.remat,
        init_scales=tuple(layer.init_scale for layer in config.layers),
        head=head,
    )


def layer_shapes(config: ModelConfig, task: Task) -> list[PyTree]:
    """The shapes of the parameters of every layer, once each has been tried for a step.

    Raises:
      FieldErrors: as `make_model`, and if initializers or steps fail.
    """
    return _of_each_layer(config, task, check_layer)[0]


def _of_each_layer(
    config: ModelConfig, task: Task, function: Callable[[LayerConfig, Features], Any]
) -> tuple[list[Any], Features]:
    """A function of every layer and its number of inputs, and the outputs of the last layer."""
    results = []
    inputs = input_features(task)
    for i, layer in enumerate(config.layers):
        try:
            results.append(function(layer, inputs))
            inputs = output_features(layer, inputs)
        except FieldErrors as error:
            raise error.below(f"layers.{i}") from None
    return results, inputs


def input_features(task: Task) -> Features:
    """The input size of a task, as a number or a tuple."""
    size = task.input_size
    return size if isinstance(size, int) else tuple(size)


def _scaled(params: PyTree, scales: tuple[Any, ...]) -> PyTree:
    """The parameters of the layers, with their kernels times the scale of each layer."""
    layers = (params,) if len(scales) == 1 else params
    # A scale of 1 is left out, so that it does not change a bit.
    scaled = tuple(
        layer
        if isinstance(scale, float) and scale == 1.0
        else jax.tree.map(
            lambda leaf, kernel, scale=scale: (leaf * scale).astype(leaf.dtype) if kernel else leaf,
            layer,
            are_kernels(layer),
        )
        for layer, scale in zip(layers, scales, strict=True)
    )
    return scaled[0] if len(scales) == 1 else scaled
