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
    if dataclasses.is_dataclass(value) or not callable(value):
        return repr(value)
    return getattr(value, "__name__", repr(value))
