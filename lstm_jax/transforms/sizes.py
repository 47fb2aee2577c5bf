"""Sizes of inputs and outputs of any cell."""

from typing import Any

import jax

from lstm_jax.types import PyTree


def batch_shape(cell: Any, x: PyTree) -> tuple[int, ...]:
    """The batch axes of one step's input: all but the last, or `cell.batch_shape(x)`.

    Args:
      cell: any cell.
      x: input ``x_t``.

    Returns:
      A shape.

    >>> import lstm_jax as lj
    >>> batch_shape(lj.LSTM(3, 5), jax.ShapeDtypeStruct((2, 3), "float32"))
    (2,)
    """
    if hasattr(cell, "batch_shape"):
        return cell.batch_shape(x)
    return jax.tree.leaves(x)[0].shape[:-1]


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
