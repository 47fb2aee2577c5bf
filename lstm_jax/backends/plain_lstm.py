"""What the backends for whole layers of the plain LSTM have in common: what they do not support."""

from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.backends.request import Request
from lstm_jax.cells import LSTM
from lstm_jax.cells.arguments import as_state, check_step
from lstm_jax.transforms.step_function import StepFunction
from lstm_jax.types import LSTMState


def not_plain_reason(cell: Any) -> str | None:
    """Why a cell is not the plain LSTM, or None.

    >>> from lstm_jax import GRU
    >>> not_plain_reason(GRU(3, 5))
    'it runs the plain LSTM; the cell is a GRU'
    """
    if isinstance(cell, StepFunction):
        return "it runs the plain LSTM; the cell is a step function other than lstm_step"
    if type(cell) is not LSTM:
        return f"it runs the plain LSTM; the cell is a {type(cell).__name__}"
    if cell.gate_activation is not jax.nn.sigmoid or cell.activation is not jnp.tanh:
        return "its gates are sigmoids and its candidate a tanh; the cell has others"
    return None


def array_reason(request: Request) -> str | None:
    """Why such a backend does not support the arrays of a request, or None.

    Args:
      request: a request for an `LSTM`.

    Returns:
      A reason.

    Raises:
      TypeError, ValueError: as `lstm_step`, where the arrays do not fit together.
    """
    if getattr(request.xs, "ndim", 0) < 2:
        return "it reads one array of features [T, ..., I]"
    x_1 = jax.ShapeDtypeStruct(request.xs.shape[1:], request.xs.dtype)
    state = as_state("lstm_step", LSTMState, request.state)
    shapes = request.cell.shapes(request.params)
    check_step("lstm_step", request.params, state, x_1, shapes)  # pyright: ignore[reportArgumentType]
    return None
