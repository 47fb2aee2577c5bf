"""Which cells are values, so that a program compiled for one serves an equal one."""

import dataclasses
import functools
import operator
from types import ModuleType
from typing import Any

from lstm_jax.transforms.step_function import StepFunction
from lstm_jax.transforms.transform import Transform


def has_value_semantics(cell: Any) -> bool:
    """Whether equal cells behave the same, so that a program compiled for one serves the other.

    True for a frozen dataclass whose fields are all compared, and have value semantics themselves.
    An object that equals itself alone may change, and has none, nor has a method of it. A function
    of a module is trusted not to; a lambda, or a function or class that a function makes, equals no
    other one.

    >>> from lstm_jax import LSTM
    >>> has_value_semantics(LSTM(3, 5)), has_value_semantics(object())
    (True, False)
    """
    if isinstance(cell, StepFunction) or _compared_fields(type(cell)) is None:
        return False
    values = [cell]
    while values:
        value = values.pop()
        if isinstance(value, tuple | frozenset):
            values.extend(value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = _compared_fields(type(value))
            if names is None:
                return False
            values.extend(map(value.__getattribute__, names))
            inside = value.children() if isinstance(value, Transform) else ()
            if not all(map(has_value_semantics, inside)):
                return False
        elif callable(value) and hasattr(value, "__qualname__"):
            if "<" in value.__qualname__:
                return False
            owner = getattr(value, "__self__", None)
            if owner is not None and not _is_trusted_owner(owner):
                return False
        elif value is not None and type(value).__hash__ is object.__hash__:
            return False
    try:
        hash(cell)
    except TypeError:
        return False
    return True


def _is_trusted_owner(owner: Any) -> bool:
    """Whether a method of it computes the same as that of an equal object, class or module."""
    if isinstance(owner, type):
        return "<" not in owner.__qualname__
    return isinstance(owner, ModuleType) or has_value_semantics(owner)


@functools.lru_cache
def _compared_fields(kind: type[Any]) -> tuple[str, ...] | None:
    """The fields of a frozen dataclass of a module; None where one of them is not compared.

    >>> from lstm_jax.cells import TanhRNN
    >>> _compared_fields(TanhRNN)[:2], _compared_fields(int)
    (('input_size', 'hidden_size'), None)
    """
    # Not by `getattr`: a subclass that is not a dataclass itself can have further attributes.
    params = vars(kind).get("__dataclass_params__")
    if not getattr(params, "frozen", False) or "<" in kind.__qualname__:
        return None
    fields = dataclasses.fields(kind)
    compared = all(map(operator.attrgetter("compare"), fields))
    return tuple(map(operator.attrgetter("name"), fields)) if compared else None
