"""The model section of a config: layers, and what they have in common."""

import dataclasses
from typing import Any, Literal

from pydantic import InstanceOf
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT, Count, Rate
from experiments.config.layer import LayerConfig, layer


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """Recurrent layers and a linear readout.

    A config file gives the number of equal layers, with their fields beside it, or a list of
    layers; what a layer of the list does not set, it has from the fields beside the list.
    """

    layers: tuple[InstanceOf[LayerConfig], ...] = (layer(),)
    """number of equal layers, or a list of layers"""
    dropout: Rate = 0.0
    """dropout between the layers"""
    implementation: Literal["scan", "cpu", "cudnn"] | None = None
    """backend of the layers; none to select the fastest that supports them"""
    remat: Count | None = None
    """steps between the states kept for the gradient, to save memory; none to keep every step"""


SHARED = [field.name for field in dataclasses.fields(ModelConfig) if field.name != "layers"]
"""The fields of a model that are not those of a layer."""


def model_config(cell: str = "lstm", layers: int = 1, **fields: Any) -> ModelConfig:
    """A model of equal layers, as the short form in a config file.

    Args:
      cell: the cell of every layer.
      layers: number of layers.
      **fields: fields of the model, and of a layer with this cell.

    >>> model_config("gru", layers=2, hidden_size=64, dropout=0.1).layers[1].hidden_size
    64
    """
    shared = {name: fields.pop(name) for name in SHARED if name in fields}
    return ModelConfig(layers=(layer(cell, **fields),) * layers, **shared)


def model_tree(config: ModelConfig) -> dict[str, Any]:
    """The section as it stands in a config file: the short form where all layers are equal.

    >>> model_tree(model_config("gru", layers=2))["layers"]
    2
    """
    trees = [_tree(each) for each in config.layers]
    shared = {name: getattr(config, name) for name in SHARED}
    if all(each == config.layers[0] for each in config.layers):
        return {**trees[0], "layers": len(trees), **shared}
    return {"layers": trees, **shared}


def _tree(layer_config: LayerConfig) -> dict[str, Any]:
    tree = dataclasses.asdict(layer_config)
    # Cell and size first, as people write them.
    first = {name: tree[name] for name in ("cell", "hidden_size") if name in tree}
    return first | tree
