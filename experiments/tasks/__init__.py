"""Tasks, one per file: data, loss, metrics and goals; a task's figures are in a file beside it."""

from experiments.tasks.adding import Adding
from experiments.tasks.chars import Chars
from experiments.tasks.copy import Copy
from experiments.tasks.goal import Goal
from experiments.tasks.task import Batch, Split, Task, goals

AnyTask = Adding | Copy | Chars

__all__ = ["Adding", "AnyTask", "Batch", "Chars", "Copy", "Goal", "Split", "Task", "goals"]
