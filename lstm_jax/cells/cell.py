"""What the dataclasses of all cells share: how they check their fields, and how they print."""

import dataclasses
import operator
from typing import Any

import jax.numpy as jnp
import numpy as np


def settle_fields(cell: Any) -> None:
    """Check the sizes of a new cell and give its dtype one spelling, so that equal cells are equal.

    Args:
      cell: a frozen dataclass with integer fields that end in ``_size``, and a field ``dtype``.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    >>> from lstm_jax import LSTM
    >>> LSTM(3, 5, dtype="float32") == LSTM(3, 5)
    True
    """
    for field in dataclasses.fields(cell):
        if field.name.endswith("_size"):
            check_size(type(cell).__name__, field.name, getattr(cell, field.name))
    object.__setattr__(cell, "dtype", jnp.dtype(cell.dtype))


def check_size(function: str, name: str, size: Any) -> None:
    """Raise unless `size` is a whole number of at least 1.

    >>> check_size("LSTM", "hidden_size", 0)
    Traceback (most recent call last):
    ValueError: LSTM: hidden_size must be at least 1; got 0
    """
    try:
        operator.index(size)
    except TypeError:
        raise TypeError(f"{function}: {name} must be an integer; got {size!r}") from None
    if size < 1:
        raise ValueError(f"{function}: {name} must be at least 1; got {size}")


def check_features(function: str, name: str, shape: tuple[int, ...], size: int, axis: str) -> None:
    """Raise unless a shape ends in `size` features.

    >>> check_features("lstm_step", "x", (7, 2), 3, "I")
    Traceback (most recent call last):
    ValueError: lstm_step: x must have shape [..., I] with I = 3 to fit params; got (7, 2)
    """
    if not shape or shape[-1] != size:
        raise ValueError(
            f"{function}: {name} must have shape [..., {axis}] with {axis} = {size} to fit params;"
            f" got {shape}"
        )


def short_repr(cell: Any) -> str:
    """A cell as it would be written: the sizes, and what is not as by default.

    >>> from lstm_jax import LSTM, initializers
    >>> LSTM(3, 5, bias_init=initializers.Chrono(100))
    LSTM(input_size=3, hidden_size=5, bias_init=Chrono(t_max=100))
    """
    shown = []
    for field in dataclasses.fields(cell):
        value = getattr(cell, field.name)
        if field.default is dataclasses.MISSING or value != field.default:
            written = value.name if isinstance(value, np.dtype) else value
            shown.append(f"{field.name}={written!r}")
    return f"{type(cell).__name__}({', '.join(shown)})"
