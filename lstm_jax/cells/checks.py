"""Checks of the sizes that a cell is constructed with."""

import operator
from typing import Any


def check_size(function: str, name: str, size: Any) -> None:
    """Raise unless `size` is an integer of at least 1.

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


def check_heads(function: str, num_heads: Any, hidden_size: int) -> None:
    """Raise unless the hidden units can be divided evenly among the heads.

    Args:
      function: the public function to name in errors.
      num_heads: number of heads ``N``.
      hidden_size: number of hidden units ``H``.

    Raises:
      TypeError: when `num_heads` is not an integer.
      ValueError: when it is below 1, or does not divide `hidden_size`.

    >>> check_heads("SLSTM", 3, 8)
    Traceback (most recent call last):
    ValueError: SLSTM: num_heads must divide hidden_size = 8; got 3
    """
    check_size(function, "num_heads", num_heads)
    if hidden_size % num_heads:
        raise ValueError(
            f"{function}: num_heads must divide hidden_size = {hidden_size}; got {num_heads}"
        )
