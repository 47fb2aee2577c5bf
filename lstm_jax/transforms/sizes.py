"""Sizes of any cell: features of inputs and outputs, and shapes of parameters."""

from typing import Any

import jax

from lstm_jax.types import PyTree


def input_size(cell: Any) -> int | None:
    """Number of input features of a cell.

    Args:
      cell: any cell.

    Returns:
      The number, or None where it is not known.

    >>> import lstm_jax as lj
    >>> input_size(lj.stack(lj.LSTM(3, 5), lj.GRU(5, 4)))
    3
    """
    return getattr(cell, "input_size", None)


def output_size(cell: Any) -> int | None:
    """Number of output features: that of the first field of the state, or `cell.output_size`.

    Args:
      cell: any cell.

    Returns:
      The number, or None where it is not known.

    >>> import lstm_jax as lj
    >>> output_size(lj.skip(lj.LSTM(3, 5)))
    8
    """
    if hasattr(cell, "output_size"):
        return cell.output_size
    return jax.eval_shape(cell.initial_state)[0].shape[-1]


def param_shapes(cell: Any) -> PyTree:
    """The shapes and dtypes of a cell's parameters.

    Args:
      cell: any cell.

    Returns:
      The structure of ``cell.init(key)`` with `jax.ShapeDtypeStruct` leaves.

    >>> import lstm_jax as lj
    >>> param_shapes(lj.LSTM(3, 5)).bias.shape
    (20,)
    """
    return jax.eval_shape(cell.init, jax.random.key(0))
