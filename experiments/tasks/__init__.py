"""Tasks, one a file: the data and what counts as solved."""

from experiments.tasks.adding import Adding
from experiments.tasks.chars import Chars
from experiments.tasks.copy import Copy
from experiments.tasks.task import Batch, Goal, Split, Task, goals

AnyTask = Adding | Copy | Chars

__all__ = ["Adding", "AnyTask", "Batch", "Chars", "Copy", "Goal", "Split", "Task", "goals"]
