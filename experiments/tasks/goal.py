"""Goals of a task: the criteria that decide whether it is solved or mastered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

ALL = 1 - 1e-6
"""Threshold of a share that has to be 1: in float32 a mean of ones can be a rounding below it."""


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

    def reached(self, metrics: Mapping[str, Any]) -> Any:
        """Whether the metrics reach the goal, elementwise for metrics with a value per seed.

        Args:
          metrics: numbers, lists or arrays by name; arrays of JAX may be traced.

        Returns:
          An array of NumPy, or one of JAX if the metrics are.
        """
        value = metrics[self.metric]
        if not isinstance(value, jax.Array):
            # Metrics are computed in float32: one of 1e-4 that a file has is not below 1e-4.
            value = np.asarray(value, np.float32)
        own = value < self.threshold if self.relation == "<" else value >= self.threshold
        return own & self.also.reached(metrics) if self.also else own

    def __str__(self) -> str:
        own = f"{self.metric} {self.relation} {self.threshold:g}"
        return f"{own} and {self.also}" if self.also else own
