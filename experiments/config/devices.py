"""The section ``devices`` of a config: the mesh of the devices that train."""

from typing import Literal

from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT, Count


@dataclass(frozen=True, config=STRICT)
class DevicesConfig:
    """The mesh of the devices that train: ``data x hidden`` of them."""

    data: Count | Literal["all"] | None = None
    """devices over which the sequences of a batch are sharded, or all; none: one of every process"""
    hidden: Count = 1
    """devices over which the hidden units are sharded, for layers too large for one device"""
