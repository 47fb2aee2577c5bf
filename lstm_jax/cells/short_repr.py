"""The short repr of a cell."""

import dataclasses
from typing import Any

import numpy as np


def short_repr(cell: Any) -> str:
    """The sizes of a cell and every field that differs from its default, as a call.

    Fields with ``repr=False`` are left out.

    >>> from lstm_jax import LSTM, initializers
    >>> LSTM(3, 5, bias_init=initializers.Chrono(100))
    LSTM(input_size=3, hidden_size=5, bias_init=Chrono(t_max=100))
    >>> zeros = initializers.zeros
    >>> LSTM(3, 5, bias_init=initializers.EachGate((zeros, initializers.Chrono(9), zeros)))
    LSTM(input_size=3, hidden_size=5, bias_init=EachGate(inits=(zeros, Chrono(t_max=9), zeros)))
    """
    fields = []
    for field in dataclasses.fields(cell):
        if not field.repr:
            continue
        value = getattr(cell, field.name)
        if field.default is dataclasses.MISSING or value != field.default:
            fields.append(f"{field.name}={_formatted(value)}")
    return f"{type(cell).__name__}({', '.join(fields)})"


def _formatted(value: Any) -> str:
    if isinstance(value, np.dtype):
        return repr(value.name)
    if type(value) is tuple:
        return f"({', '.join(map(_formatted, value))}{',' if len(value) == 1 else ''})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if not type(value).__dataclass_params__.repr:  # pyright: ignore[reportAttributeAccessIssue]
            return repr(value)
        shown = [field.name for field in dataclasses.fields(value) if field.repr]
        fields = [f"{name}={_formatted(getattr(value, name))}" for name in shown]
        return f"{type(value).__qualname__}({', '.join(fields)})"
    return getattr(value, "__name__", repr(value)) if callable(value) else repr(value)
