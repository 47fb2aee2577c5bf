"""The task section of a config: a built-in task, or one's own by its import path."""

import dataclasses
import functools
from typing import Any

from experiments.config.components import find_component
from experiments.config.section_class import section_class
from experiments.tasks import TASKS

PARTS = ("load", "sample", "loss", "metrics", "baselines", "figures")
FACTS = ("metric", "metric_scale", "solved", "mastered", "input_size", "output_size")


@functools.cache
def task_class(name: Any) -> Any:
    """The class of the task that a name selects.

    Args:
      name: a built-in task, or the import path of one's own: a frozen dataclass with the attributes
        and methods of `experiments.tasks.Task`. Its fields are the fields of the section.

    Returns:
      A class whose fields are those of the section.

    Raises:
      ValueError: if there is no such task, or it lacks a part of the interface.

    >>> task_class("copy").__name__
    'Copy'
    """
    found = find_component("task", name, TASKS)
    if name in TASKS:
        return found
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise ValueError(f"{name} is not a task: a frozen dataclass, see experiments.tasks.Task")
    missing = [part for part in (*FACTS, *PARTS) if not hasattr(found, part)]
    fields = {field.name for field in dataclasses.fields(found)}
    missing = [part for part in missing if part not in fields]
    if missing:
        raise ValueError(f"{name} is not a task: it has no {', '.join(missing)}")
    if not found.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ValueError(f"{name} must be a frozen dataclass: @dataclass(frozen=True)")
    doc = found.__doc__ or name
    return section_class(found.__name__, found, [("name", str, name, "import path")], doc)
