"""Goals of a task: the criteria that decide whether it is solved or mastered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Goal:
    """A threshold of a metric: ``metric < threshold`` or ``metric >= threshold``.

    Attributes:
      metric: the name of the metric.
      relation: on which side of the threshold the goal is.
      threshold: the threshold.
      also: a goal of another metric that has to be reached at the same time.

    >>> goal = Goal("wrong", "<", 0.01, also=Goal("mean_error", "<", 0.1))
    >>> print(goal)
    wrong < 0.01 and mean_error < 0.1
    >>> goal.reached({"wrong": [0.0, 0.0], "mean_error": [0.05, 0.2]})
    array([ True, False])
    """

    metric: str
    relation: Literal["<", ">="]
    threshold: float
    also: "Goal | None" = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all metrics that the goal is about."""
        return (self.metric, *(self.also.metrics if self.also else ()))

    def reached(self, metrics: Mapping[str, Any]) -> np.ndarray:
        """Whether the metrics reach the goal, elementwise for metrics with a value per seed."""
        value = np.asarray(metrics[self.metric])
        own = value < self.threshold if self.relation == "<" else value >= self.threshold
        return own & self.also.reached(metrics) if self.also else own

    def __str__(self) -> str:
        own = f"{self.metric} {self.relation} {self.threshold:g}"
        return f"{own} and {self.also}" if self.also else own
