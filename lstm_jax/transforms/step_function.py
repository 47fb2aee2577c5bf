"""A bare step function as a cell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp

from lstm_jax.cells import LSTM, lstm_step
from lstm_jax.cells.arguments import as_params
from lstm_jax.cells.lstm import float_dtype
from lstm_jax.transforms.step_rng import StepRng
from lstm_jax.transforms.transform import AnyCell, Transform
from lstm_jax.transforms.wrap import check_is_cell
from lstm_jax.types import LSTMParams, PyTree


def as_cell(function: str, cell: Any, params: PyTree, *, has_own_state: bool) -> AnyCell:
    """The cell of a bare step function.

    Args:
      function: the public function to name in errors.
      cell: a bare step function.
      params: its parameters.
      has_own_state: whether the cell needs an initial state of its own, to start from or for
        resets. A bare step function has only the state that the caller passes.

    Returns:
      The cell `LSTM` for `lstm_step` with parameters of its shapes, so that all backends support
      it; otherwise a `StepFunction`, which runs by the scan.

    Raises:
      TypeError: when it is not a function.
    """
    if isinstance(cell, type):
        check_is_cell(function, cell)
    params = as_params(LSTMParams, params)
    if cell is lstm_step and not has_own_state and isinstance(params, LSTMParams):
        shapes = jnp.shape(params.kernel), jnp.shape(params.recurrent_kernel)
        if all(len(shape) == 2 and min(shape) > 0 for shape in shapes):
            return LSTM(shapes[0][0], shapes[1][0], dtype=float_dtype(params.kernel))
    if callable(cell) and not type(cell).__module__.startswith("flax."):
        return StepFunction(cell)
    raise TypeError(
        f"{function}: cell must be a cell or a step function (params, state, x) -> state;"
        f" got {type(cell).__name__}{_flax_hint(cell)}"
    )


def _flax_hint(cell: Any) -> str:
    is_flax = type(cell).__module__.startswith("flax.")
    return (
        " of Flax; use a cell such as lj.LSTM, or lstm_jax.linen and lstm_jax.nnx"
        if is_flax
        else ""
    )


@dataclass(frozen=True, repr=False, eq=False)
class StepFunction(Transform):
    """A bare step function as a cell; equal only to itself, as what it closes over may change.

    Args:
      function: ``(params, state, x) -> state``.
      own_state: its initial state, which the caller passes.
    """

    function: Callable[..., Any]
    own_state: Any = field(default=None, repr=False)  # arrays, which a warning would print

    def children(self) -> tuple[()]:
        """No cells."""
        return ()

    def initial_state(self, batch_shape: Sequence[int] = (), params: PyTree = None) -> PyTree:
        """The state that the caller has passed, for all rows."""
        return self.own_state

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, PyTree]:
        """Advance one time step; the output is the first field of the state."""
        new = self.function(params, state, x)
        return new, new[0]

    def output_of(self, state: PyTree, x: PyTree) -> PyTree:
        """The first field of the state."""
        return state[0]
