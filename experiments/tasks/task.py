"""What a task is: its data, its loss, its metrics, and what counts as solved."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Array, Float
from pydantic import ConfigDict

from lstm_jax.types import PRNGKey, PyTree

Split = Literal["train", "validation", "test"]

STRICT = ConfigDict(extra="forbid", strict=True)
"""How every part of a config is validated: no unknown fields, no guessing at types."""


class Batch(NamedTuple):
    """Sequences to learn from: time is axis 0 and the batch is axis 1 of every array.

    Attributes:
      inputs: features ``[T, B, I]``, or class indices ``[T, B]`` to be one-hot encoded.
      targets: what the task's loss compares the outputs with, arrays ``[T, B]``, or ``[1, B]``
        where only the last step counts.
    """

    inputs: Array
    targets: PyTree


@dataclass(frozen=True)
class Goal:
    """A threshold on a metric: ``metric < threshold`` or ``metric >= threshold``."""

    metric: str
    relation: Literal["<", ">="]
    threshold: float

    def reached(self, metrics: dict[str, Any]) -> np.ndarray:
        """Whether the metrics reach the goal; elementwise where they hold one value a seed."""
        value = np.asarray(metrics[self.metric])
        return value < self.threshold if self.relation == "<" else value >= self.threshold

    def __str__(self) -> str:
        return f"{self.metric} {self.relation} {self.threshold:g}"


class Task(Protocol):
    """A frozen dataclass of settings with pure functions; its fields are the config's fields.

    Attributes:
      metric: the metric that the learning curve shows, in the units of the baselines.
      solved: the goal that training can stop at.
      mastered: a stricter goal.
      input_size: input features ``I``, or the number of input classes.
      output_size: outputs ``O`` a step.
    """

    metric: ClassVar[str]
    solved: ClassVar[Goal]
    mastered: ClassVar[Goal | None]
    input_size: ClassVar[int]
    output_size: ClassVar[int]

    @property
    def name(self) -> str:
        """How config files call the task."""
        ...

    def load(self) -> PyTree:
        """The arrays that `sample` reads; empty where sequences are made from the key alone."""
        ...

    def sample(self, data: PyTree, split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Draw sequences: a pure function of the key, to be called inside the jitted step."""
        ...

    def loss(self, outputs: Float[Array, "T B O"], batch: Batch) -> Float[Array, ""]:
        """What training minimises, a mean over the batch."""
        ...

    def metrics(self, outputs: Float[Array, "T B O"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """What is reported, each a mean over the batch."""
        ...

    def baselines(self, data: PyTree, split: Split) -> dict[str, float]:
        """Values of `metric` that need little memory or none, by what reaches them."""
        ...


def goals(task: Task) -> dict[str, Goal]:
    """The goals that a task has, by name."""
    named = {"solved": task.solved, "mastered": task.mastered}
    return {name: goal for name, goal in named.items() if goal is not None}
