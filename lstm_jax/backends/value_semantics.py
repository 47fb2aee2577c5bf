"""Which cells are values, so that a program compiled for one serves an equal one."""

import dataclasses
from typing import Any

from lstm_jax.transforms.step_function import StepFunction
from lstm_jax.transforms.transform import Transform


def has_value_semantics(cell: Any) -> bool:
    """Whether equal cells behave the same, so that a program compiled for one serves the other.

    True for a frozen dataclass whose fields are all compared, and have value semantics themselves.
    An object that equals itself alone may change, and has none. A function of a module is trusted
    not to; a lambda, or a function or class that a function makes, equals no other one.

    >>> from lstm_jax import LSTM
    >>> has_value_semantics(LSTM(3, 5)), has_value_semantics(object())
    (True, False)
    """
    # Not by `getattr`: a subclass that is not a dataclass itself can have further attributes.
    params = vars(type(cell)).get("__dataclass_params__")
    if isinstance(cell, StepFunction) or not getattr(params, "frozen", False):
        return False
    if "<" in type(cell).__qualname__:  # as in f.<locals>.Cell
        return False
    values: list[Any] = []
    for field in dataclasses.fields(cell):
        if not field.compare:
            return False
        values.append(getattr(cell, field.name))
    while values:
        value = values.pop()
        if isinstance(value, tuple | frozenset):
            values.extend(value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            if not has_value_semantics(value):
                return False
        elif callable(value) and hasattr(value, "__qualname__"):
            if "<" in value.__qualname__:  # as in <lambda>
                return False
        elif value is not None and type(value).__hash__ is object.__hash__:
            return False
    if isinstance(cell, Transform) and not all(map(has_value_semantics, cell.children())):
        return False
    try:
        hash(cell)
    except TypeError:
        return False
    return True
