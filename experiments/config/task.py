"""The task section of a config: a built-in task, or one's own by its import path."""

import dataclasses
import functools
from typing import Any

from experiments.config.calls import frozen
from experiments.config.components import find_component
from experiments.config.section_class import section_class
from experiments.tasks import TASKS

REQUIRED = ("sample", "loss", "metrics", "metric", "solved", "input_size", "output_size")
"""What every task has."""

OPTIONAL: dict[str, Any] = {
    "load": lambda self: (),
    "baselines": lambda self, data, split: {},
    "figures": lambda self, model, params, data, key, sequences: {},
    "metric_scale": "linear",
    "mastered": None,
}
"""What a task of one's own may leave out, and what it has then."""


def task_class(name: Any) -> Any:
    """The class of the task that a name selects.

    Args:
      name: a built-in task, or the import path of one's own: a frozen dataclass with the attributes
        and methods of `experiments.tasks.Task`, of which it may leave out `OPTIONAL`. Its fields
        are the fields of the section.

    Returns:
      A class whose fields are those of the section.

    Raises:
      ValueError: if there is no such task, or it lacks a part of the interface.

    >>> task_class("copy").__name__
    'Copy'
    """
    found = find_component("task", name, TASKS)
    return found if name in TASKS else _class_of(found, name)


@functools.cache
def _class_of(found: Any, name: str) -> Any:
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise ValueError(f"{name} is not a task: a frozen dataclass, see experiments.tasks.Task")
    if not frozen(found):
        raise ValueError(f"{name} must be a frozen dataclass: @dataclass(frozen=True)")
    fields = {field.name for field in dataclasses.fields(found)}
    missing = [each for each in REQUIRED if not hasattr(found, each) and each not in fields]
    if missing:
        raise ValueError(f"{name} is not a task: it has no {', '.join(missing)}")
    added = {
        each: value
        for each, value in OPTIONAL.items()
        if not hasattr(found, each) and each not in fields
    }
    field = ("name", str, name, "the task: a name, or the import path of one's own")
    return section_class(found.__name__, found, [field], found.__doc__ or name, **added)
