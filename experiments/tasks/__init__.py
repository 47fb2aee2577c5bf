"""Tasks, one per file: data, loss, metrics and goals; a task's figures are in a file beside it."""

from experiments.tasks.adding import Adding
from experiments.tasks.chars import Chars
from experiments.tasks.continual_reber import ContinualReber
from experiments.tasks.copy import Copy
from experiments.tasks.digits import SequentialDigits
from experiments.tasks.goal import Goal
from experiments.tasks.reber import Reber
from experiments.tasks.task import Batch, Split, Task, goals

TASKS: dict[str, type[Task]] = {
    "adding": Adding,
    "copy": Copy,
    "chars": Chars,
    "reber": Reber,
    "continual_reber": ContinualReber,
    "digits": SequentialDigits,
}
"""The built-in tasks by their names in a config."""

__all__ = [
    "TASKS",
    "Adding",
    "Batch",
    "Chars",
    "ContinualReber",
    "Copy",
    "Goal",
    "Reber",
    "SequentialDigits",
    "Split",
    "Task",
    "goals",
]
