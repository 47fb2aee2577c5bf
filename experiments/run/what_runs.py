"""What trains, said in one line at the start: the model, its backend and the device."""

from typing import Any

import jax

import lstm_jax as lj
from experiments.config.schema import Config
from experiments.devices.mesh import Placement
from experiments.model import make_model
from experiments.training.keys import data_key
from lstm_jax.types import PyTree


def implementations(
    config: Config, data: PyTree, placement: Placement | None = None
) -> tuple[str, ...]:
    """The backends that unroll a config's model, each once; nothing is computed.

    Args:
      config: the config.
      data: the data of its task.
      placement: the devices; by default one.
    """
    model = make_model(config.model, config.task)
    model = model if placement is None else placement.model(model)

    def inputs(key: Any) -> Any:
        batch = config.task.sample(data, "train", key, config.train.batch_size)
        return model.encode(batch.inputs)

    xs = jax.eval_shape(inputs, data_key("train", config.seed))
    options = {"implementation": model.implementation, "remat": model.remat}
    return tuple(dict.fromkeys(lj.explain(model.cell, xs, **options).implementations))


def what_runs(config: Config, environment: dict[str, Any], dtype: str = "float32") -> str:
    """One line about what trains.

    Args:
      config: the config.
      environment: the current environment.
      dtype: the dtype of the parameters.

    >>> from experiments.tasks import Adding
    >>> here = {"backend": "cpu", "implementations": ["cpu"], "instruction_set": "avx512",
    ...         "threads": 2, "devices": 1, "device": "cpu"}
    >>> what_runs(Config(task=Adding(length=6)), here)
    'lstm 128 units on cpu (native avx512, 2 threads), float32'
    """
    names = environment["implementations"] or ["scan"]
    details = [f"native {environment['instruction_set']}" if n == "cpu" else n for n in names]
    place = environment["device"]
    if environment["backend"] == "cpu":
        details.append(f"{environment['threads']} threads")
        place = "cpu"
    if environment["devices"] > 1:
        place = f"{environment['devices']} x {place}"
    layers = config.model.layers
    sizes = dict.fromkeys(
        f"{each.cell} {size} units" if (size := getattr(each, "hidden_size", None)) else each.cell
        for each in layers
    )
    model = (f"{len(layers)} layers: " if len(layers) > 1 else "") + ", ".join(sizes)
    return f"{model} on {place} ({', '.join(details)}), {dtype}"
