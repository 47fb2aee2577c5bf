"""The section ``devices`` of a config: the mesh of the devices that train."""

from typing import Literal

from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT, Count


@dataclass(frozen=True, config=STRICT)
class DevicesConfig:
    """The mesh of the devices that train: data times hidden of them."""

    data: Count | Literal["all"] | None = None
    """devices that share the sequences of a batch, or all; none stands for one of every process"""
    hidden: Count = 1
    """devices that share the hidden units, for layers too large for one device"""
