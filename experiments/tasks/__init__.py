"""Tasks, one per file: data, loss, metrics and goals; a task's figures are in a file beside it."""

from typing import Any

from experiments.tasks.adding import Adding
from experiments.tasks.associative_recall import AssociativeRecall
from experiments.tasks.chars import Chars
from experiments.tasks.continual_reber import ContinualReber
from experiments.tasks.copy import Copy
from experiments.tasks.digits import Digits
from experiments.tasks.goal import Goal
from experiments.tasks.hs1997 import (
    Adding1997,
    Lag1997,
    Multiplication1997,
    TemporalOrder1997,
    TwoSequences1997,
)
from experiments.tasks.reber import Reber
from experiments.tasks.selective_copy import SelectiveCopy
from experiments.tasks.task import Batch, Split, Task, goals
from experiments.tasks.warp import Warp

TASKS: dict[str, type[Any]] = {
    "adding": Adding,
    "copy": Copy,
    "chars": Chars,
    "reber": Reber,
    "continual_reber": ContinualReber,
    "digits": Digits,
    "selective_copy": SelectiveCopy,
    "associative_recall": AssociativeRecall,
    "warp": Warp,
    "lag_1997": Lag1997,
    "two_sequences_1997": TwoSequences1997,
    "adding_1997": Adding1997,
    "multiplication_1997": Multiplication1997,
    "temporal_order_1997": TemporalOrder1997,
}
"""The built-in tasks by their names in a config; class variables of `Task` may be properties."""

__all__ = [
    "TASKS",
    "Adding",
    "AssociativeRecall",
    "Batch",
    "Chars",
    "ContinualReber",
    "Copy",
    "Digits",
    "Goal",
    "Reber",
    "SelectiveCopy",
    "Split",
    "Task",
    "Warp",
    "goals",
]
