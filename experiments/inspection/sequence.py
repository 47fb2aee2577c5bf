"""One held-out sequence and all that a model does over it."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from experiments.config.schema import Config
from experiments.inspection.layers import LayerTrace, trace_layers
from experiments.model import Model, ModelParams
from experiments.tasks import Split
from experiments.training.keys import data_key
from lstm_jax.types import PyTree


@dataclass(frozen=True, eq=False)
class SequenceTrace:
    """The layers of a model over one sequence of ``T`` steps; all arrays are NumPy's.

    Attributes:
      title: the task and the number of the sequence.
      layers: the states and gates of each layer and direction, from the input up.
      inputs: features ``[T, I]``, or class indices ``[T]``.
      targets: the targets of the task, of this sequence.
      outputs: the outputs of the model ``[T, O]``.
      length: number of valid steps, the first ones.
    """

    title: str
    layers: tuple[LayerTrace, ...]
    inputs: np.ndarray
    targets: PyTree
    outputs: Float[np.ndarray, "T O"]
    length: int

    @property
    def gates(self) -> PyTree:
        """The gates of the only layer, or a tuple with those of each."""
        every = tuple(layer.gates for layer in self.layers)
        return every[0] if len(every) == 1 else every

    @property
    def states(self) -> PyTree:
        """The states of the only layer, or a tuple with those of each."""
        every = tuple(layer.states for layer in self.layers)
        return every[0] if len(every) == 1 else every

    def __repr__(self) -> str:
        sizes = f"inputs {[*self.inputs.shape]}, outputs {[*self.outputs.shape]}"
        return "\n".join([f"{self.title}: {sizes}", *map(repr, self.layers)])


def trace_sequence(
    config: Config,
    model: Model,
    params: ModelParams,
    data: PyTree,
    split: Split = "test",
    sequence: int = 0,
) -> SequenceTrace:
    """Apply a model to one of the held-out sequences of an evaluation.

    Args:
      config: the config, with the task and the number of held-out sequences.
      model: the model.
      params: its parameters.
      data: the data of the task.
      split: the split of the data.
      sequence: index of the sequence.

    Returns:
      The trace.
    """
    batch = config.task.sample(data, split, data_key(split, config.seed), config.eval.sequences)
    # The batch is axis 1 of every array.
    inputs, targets = jax.tree.map(lambda leaf: leaf[:, sequence], (batch.inputs, batch.targets))
    lengths: Any = None if batch.lengths is None else batch.lengths[sequence]
    # The model reads batches: here one of a single sequence.
    of_batch = None if lengths is None else lengths[None]
    outputs = model.apply(params, inputs[:, None], of_batch)[:, 0]
    return SequenceTrace(
        title=f"{config.task.name}, {split} sequence {sequence}",
        layers=tuple(
            layer._replace(states=_numpy(layer.states), gates=_numpy(layer.gates))
            for layer in trace_layers(model, params, inputs, lengths)
        ),
        inputs=np.asarray(inputs),
        targets=_numpy(targets),
        outputs=np.asarray(outputs),
        length=len(inputs) if lengths is None else int(lengths),
    )


def _numpy(tree: PyTree) -> PyTree:
    return jax.tree.map(np.asarray, tree)
