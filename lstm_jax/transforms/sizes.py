"""Numbers of input and output features of any cell."""

from typing import Any

import jax


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
