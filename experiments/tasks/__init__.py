"""Tasks, one per file: data, loss, metrics and goals; a task's figures are in a file beside it."""

from typing import Any

from experiments.tasks.adding import Adding
from experiments.tasks.associative_recall import AssociativeRecall
from experiments.tasks.chars import Chars
from experiments.tasks.copy import Copy
from experiments.tasks.goal import Goal
from experiments.tasks.hs1997 import (
    Adding1997,
    Lag1997,
    Multiplication1997,
    TemporalOrder1997,
    TwoSequences1997,
)
from experiments.tasks.selective_copy import SelectiveCopy
from experiments.tasks.task import Batch, Split, Task, goals
from experiments.tasks.warp import Warp

TASKS: dict[str, type[Any]] = {
    "adding": Adding,
    "copy": Copy,
    "chars": Chars,
    "selective_copy": SelectiveCopy,
    "associative_recall": AssociativeRecall,
    "warp": Warp,
    "lag_1997": Lag1997,
    "two_sequences_1997": TwoSequences1997,
    "adding_1997": Adding1997,
    "multiplication_1997": Multiplication1997,
    "temporal_order_1997": TemporalOrder1997,
}
"""The built-in tasks by their names in a config."""

__all__ = [
    "TASKS",
    "Adding",
    "AssociativeRecall",
    "Batch",
    "Chars",
    "Copy",
    "Goal",
    "SelectiveCopy",
    "Split",
    "Task",
    "Warp",
    "goals",
]
