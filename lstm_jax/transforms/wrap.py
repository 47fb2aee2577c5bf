"""How a function from cells to cells checks its cell, and wraps the single cells inside of it."""

from collections.abc import Callable
from typing import Any

from lstm_jax.transforms.transform import AnyCell, StateTransform, Transform
from lstm_jax.types import Cell


def check_is_cell(function: str, cell: Any) -> None:
    """Raise unless `cell` is a cell.

    Args:
      function: the public function to name in the error.
      cell: what should be a cell.

    >>> from lstm_jax import LSTM
    >>> check_is_cell("dropout", LSTM)
    Traceback (most recent call last):
    TypeError: dropout: cell must be a cell, not its class; write LSTM(...) with its sizes
    """
    if isinstance(cell, type):
        raise TypeError(
            f"{function}: cell must be a cell, not its class; write {cell.__name__}(...) with its"
            " sizes"
        )
    if not isinstance(cell, Cell):
        raise TypeError(
            f"{function}: cell must have init, initial_state and step; got {type(cell).__name__}"
        )


def over_single_cells(
    cell: AnyCell, wrap: Callable[[Any], AnyCell], *, inside: type = StateTransform
) -> AnyCell:
    """Wrap each single cell inside of `cell` in a transform.

    Args:
      cell: any cell.
      wrap: the transform.
      inside: transforms that count as single cells, besides bare cells.

    Returns:
      A cell like `cell`.

    >>> import lstm_jax as lj
    >>> over_single_cells(lj.residual(lj.GRU(3, 3)), lambda single: lj.dropout(single, 0.5))
    Residual(cell=Dropout(cell=GRU(input_size=3, hidden_size=3), rate=0.5))
    """
    if isinstance(cell, Transform) and not isinstance(cell, inside):
        wrapped = [over_single_cells(child, wrap, inside=inside) for child in cell.children()]
        return cell.with_children(wrapped)
    return wrap(cell)
