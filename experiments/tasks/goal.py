"""Goals of a task: the criteria that decide whether it is solved or mastered."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Goal:
    """A threshold of a metric: ``metric < threshold`` or ``metric >= threshold``."""

    metric: str
    relation: Literal["<", ">="]
    threshold: float

    def reached(self, metrics: dict[str, Any]) -> np.ndarray:
        """Whether the metrics reach the goal, elementwise for metrics with a value per seed."""
        value = np.asarray(metrics[self.metric])
        return value < self.threshold if self.relation == "<" else value >= self.threshold

    def __str__(self) -> str:
        return f"{self.metric} {self.relation} {self.threshold:g}"
