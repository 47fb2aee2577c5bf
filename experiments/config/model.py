"""The model section of a config: layers, and what they have in common."""

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import Field, InstanceOf
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT, Rate, Steps
from experiments.config.layer import ONLY_WITH, LayerConfig, layer
from experiments.config.readout import ReadoutConfig

MOST_LAYERS = 1000


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """Recurrent layers and a readout.

    A config file gives the number of equal layers, with their fields beside it, or a list of
    layers; what a layer of the list does not set, it has from the fields beside the list.
    """

    layers: Annotated[
        tuple[InstanceOf[LayerConfig], ...], Field(min_length=1, max_length=MOST_LAYERS)
    ] = (layer(),)
    """number of equal layers, or a list of layers"""
    dropout: Rate = 0.0
    """dropout between the layers"""
    implementation: Literal["scan", "cpu", "cudnn", "parallel"] | None = None
    """backend of the layers; none to select the fastest that supports them"""
    remat: Steps | None = None
    """steps between the states kept for the gradient, to save memory; none to keep every step"""
    readout: ReadoutConfig = ReadoutConfig()
    """affine map of the last layer's outputs"""


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


def is_short(config: ModelConfig) -> bool:
    """Whether all layers are equal, so that a file gives their number.

    >>> is_short(model_config("gru", layers=2))
    True
    """
    return all(each == config.layers[0] for each in config.layers)


def model_tree(config: ModelConfig) -> dict[str, Any]:
    """The section as it stands in a config file: the short form where all layers are equal.

    >>> model_tree(model_config("gru", layers=2))["layers"]
    2
    """
    shared = {name: getattr(config, name) for name in SHARED}
    shared["readout"] = dataclasses.asdict(config.readout)
    if is_short(config):
        return {**layer_tree(config.layers[0]), "layers": len(config.layers), **shared}
    return {"layers": [layer_tree(each) for each in config.layers], **shared}


def layer_tree(config: LayerConfig) -> dict[str, Any]:
    """A layer as it stands in a config file, without what it does not have.

    Transforms that are off are left out, and fields of the cell that are none. What remains are the
    cell, its numbers and choices, and all that was asked for.

    >>> layer_tree(layer("tanh_rnn", skip=True))
    {'cell': 'tanh_rnn', 'hidden_size': 128, 'init_scale': 1.0, 'dtype': 'float32', 'skip': True,\
 'cell_residual': False}
    """
    tree = dataclasses.asdict(config)
    off = {
        field.name: field.default
        for field in dataclasses.fields(LayerConfig)
        if field.name not in ("cell", "init_scale", "dtype")
        # What a transform does is said where it is on.
        and not (field.name in ONLY_WITH and getattr(config, ONLY_WITH[field.name]))
    }
    values = {name: getattr(config, name) for name in tree}
    given = {
        name: each
        for name, each in tree.items()
        if values[name] is not None and (name not in off or values[name] != off[name])
    }
    # Cell and size first, as people write them.
    first = {name: given[name] for name in ("cell", "hidden_size") if name in given}
    return first | given
