"""What trains, said in one line at the start: the layers, their backend and the device."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import jax

import lstm_jax as lj
from experiments.config.layer import LayerConfig
from experiments.model import Model
from experiments.tasks import Task
from lstm_jax.types import PRNGKey, PyTree


def implementations(model: Model, task: Task, data: PyTree, batch_size: int) -> tuple[str, ...]:
    """The backends that unroll a model in training, each once; nothing is computed.

    Args:
      model: the model.
      task: the task.
      data: the data of the task.
      batch_size: sequences per update.
    """

    def inputs_and_lengths(key: PRNGKey) -> tuple[jax.Array, jax.Array | None]:
        batch = task.sample(data, "train", key, batch_size)
        return model.encode(batch.inputs), batch.lengths

    key = jax.random.key(0)
    xs, lengths = jax.eval_shape(inputs_and_lengths, key)
    options = {"implementation": model.implementation, "remat": model.remat}
    explained = lj.explain(model.cell, xs, lengths=lengths, key=key, **options)
    return tuple(dict.fromkeys(explained.implementations))


def what_runs(
    layers: Sequence[LayerConfig], environment: dict[str, Any], dtype: str = "float32"
) -> str:
    """One line about what trains.

    Args:
      layers: the layers of the model.
      environment: the current environment.
      dtype: the dtype of the parameters.

    >>> here = {"backend": "cpu", "implementations": ["cpu"], "instruction_set": "avx512",
    ...         "threads": 2, "devices": 1, "device": "cpu"}
    >>> from experiments.config.layer import layer
    >>> what_runs([layer("lstm", hidden_size=64)], here)
    'lstm 64 units on cpu (native avx512, 2 threads), float32'
    >>> both = layer("gru", hidden_size=64, bidirectional=True)
    >>> what_runs([both, both, layer("lstm", hidden_size=32)], here)
    '2 x bidirectional gru 64 units, lstm 32 units on cpu (native avx512, 2 threads), float32'
    """
    groups = [(name, len([*equal])) for name, equal in groupby(map(_name, layers))]
    model = ", ".join(f"{_times(count)}{name}" for name, count in groups)
    names = environment["implementations"] or ["scan"]
    details = [f"native {environment['instruction_set']}" if n == "cpu" else n for n in names]
    place = environment["device"]
    if environment["backend"] == "cpu":
        details.append(f"{environment['threads']} threads")
        place = "cpu"
    return f"{model} on {_times(environment['devices'])}{place} ({', '.join(details)}), {dtype}"


def _name(layer: LayerConfig) -> str:
    """The cell, and its units where it has a number of them."""
    units = getattr(layer, "hidden_size", None)
    both = "bidirectional " if layer.bidirectional else ""
    return f"{both}{layer.cell}" + (f" {units} units" if units else "")


def _times(count: int) -> str:
    return f"{count} x " if count > 1 else ""
