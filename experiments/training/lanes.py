"""Lanes: trainings that share one program, each with its own seed and values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from experiments.config.schema import Config
from experiments.config.values import value_of, with_values


class LaneArrays(NamedTuple):
    """What differs between lanes, on the device; one lane has scalars.

    Attributes:
      seed: the seeds ``[N]``.
      values: values ``[N]`` by dotted name of the config's field, with weak types as Python floats.
    """

    seed: Int[Array, "..."]
    values: dict[str, Float[Array, "..."]]


@dataclass(frozen=True)
class Lanes:
    """The seeds of trainings under one `vmap`, and the fields in which their configs differ.

    Args:
      seeds: the seed of every lane.
      values: by dotted name of a field, its value in every lane. A field that decides a shape or
        the program, such as ``model.hidden_size``, cannot differ between lanes.

    Raises:
      ValueError: if there is no lane, or a field has not one value per lane.

    >>> lanes = Lanes((0, 0), {"optimizer.learning_rate": (1e-3, 1e-2)})
    >>> len(lanes)
    2
    """

    seeds: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("Lanes: seeds must have at least one seed")
        for name, values in self.values.items():
            if len(values) != len(self.seeds):
                raise ValueError(
                    f"Lanes: {name} must have a value per lane ({len(self.seeds)});"
                    f" got {len(values)}"
                )

    def __hash__(self) -> int:
        return hash((self.seeds, tuple(sorted(self.values.items()))))

    def __len__(self) -> int:
        return len(self.seeds)

    @classmethod
    def of(cls, config: Config) -> "Lanes":
        """The lanes of a plain run: the seeds of the config, and no other differences."""
        return cls(tuple(range(config.seed, config.seed + config.seeds)))

    def config(self, config: Config, lane: int) -> Config:
        """The config of one lane as a run of its own, with plain values.

        >>> from experiments.tasks import Adding
        >>> lanes = Lanes((3, 4), {"optimizer.learning_rate": (0.1, 0.2)})
        >>> alone = lanes.config(Config(task=Adding(), seeds=2), lane=1)
        >>> alone.seed, alone.seeds, alone.optimizer.learning_rate
        (4, 1, 0.2)
        """
        own = {name: values[lane] for name, values in self.values.items()}
        return with_values(config, {**own, "seed": self.seeds[lane], "seeds": 1})

    def name(self, lane: int) -> str:
        """A lane for people.

        >>> Lanes((3, 4), {"optimizer.learning_rate": (0.1, 0.2)}).name(1)
        'seed 4, optimizer.learning_rate 0.2'
        """
        own = [f"{name} {values[lane]:g}" for name, values in self.values.items()]
        return ", ".join([f"seed {self.seeds[lane]}", *own])

    def arrays(self) -> LaneArrays:
        """The seeds and values as arrays ``[N]``."""
        # A stack of scalars keeps their weak types, so that a value promotes as a constant would.
        values = {
            name: jnp.stack([jnp.asarray(float(value)) for value in values])
            for name, values in self.values.items()
        }
        return LaneArrays(jnp.asarray(self.seeds, jnp.int32), values)

    def check(self, config: Config) -> None:
        """Check that the config has the fields that differ.

        Raises:
          KeyError: if it has not.
        """
        for name in self.values:
            value_of(config, name)
