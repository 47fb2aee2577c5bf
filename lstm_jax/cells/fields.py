"""The fields of a cell: one form for equal values, and a short repr."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from lstm_jax.cells.checks import check_size
from lstm_jax.types import Policy


def settle_fields(cell: Any) -> None:
    """Check the sizes of a new cell and normalize its dtype, so that equal cells compare equal.

    Args:
      cell: a frozen dataclass with integer fields that end in ``_size``, and a field ``dtype``.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    >>> from lstm_jax import LSTM, Policy
    >>> LSTM(3, 5, dtype="float32") == LSTM(3, 5) == LSTM(3, 5, dtype=Policy("float32"))
    True
    """
    for field in dataclasses.fields(cell):
        if field.name.endswith("_size"):
            check_size(type(cell).__name__, field.name, getattr(cell, field.name))
    dtype = cell.dtype
    if isinstance(dtype, Policy) and dtype == Policy(dtype.param):
        dtype = dtype.param
    if not isinstance(dtype, Policy):
        dtype = jnp.dtype(dtype)
    object.__setattr__(cell, "dtype", dtype)


def short_repr(cell: Any) -> str:
    """The sizes of a cell and every field that differs from its default, as a call.

    >>> from lstm_jax import LSTM, initializers
    >>> LSTM(3, 5, bias_init=initializers.Chrono(100))
    LSTM(input_size=3, hidden_size=5, bias_init=Chrono(t_max=100))
    """
    fields = []
    for field in dataclasses.fields(cell):
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
