"""Cells, steps and bare step functions as values, for those that compile what they run."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from lstm_jax.backends import Apply
from lstm_jax.cells import LSTM, lstm_step
from lstm_jax.transforms.step_rng import StepRng
from lstm_jax.transforms.transform import AnyCell, Transform, apply, check_cell
from lstm_jax.types import Cell, LSTMParams, PyTree


def as_cell(function: str, cell: Any, params: PyTree, *, anew: bool) -> AnyCell:
    """The cell as it is, or a bare step function as one.

    Args:
      function: the public function to name in errors.
      cell: a cell or a bare step function.
      params: its parameters.
      anew: whether it must know a state to start from: a bare step function has none but the one
        that it is given.

    Returns:
      A cell.

    Raises:
      TypeError: when it is neither.
    """
    if isinstance(cell, type):
        check_cell(function, cell)
    if isinstance(cell, Cell):
        return cell
    if cell is lstm_step and not anew and isinstance(params, LSTMParams):
        shapes = jnp.shape(params.kernel), jnp.shape(params.recurrent_kernel)
        if all(len(shape) == 2 and min(shape) > 0 for shape in shapes):
            return LSTM(shapes[0][0], shapes[1][0])
    if callable(cell):
        return BareStep(cell)
    raise TypeError(
        f"{function}: cell must be a cell or a step function (params, state, x) -> state;"
        f" got {type(cell).__name__}"
    )


@dataclass(frozen=True, repr=False, eq=False)
class BareStep(Transform):
    """A bare step function as a cell; never equal to another, as what it closes over may change.

    It has no initial state but the one that it is given.
    """

    function: Callable[..., Any]
    own: Any = None

    def children(self) -> tuple[()]:
        """No cells."""
        return ()

    def initial_state(self, batch_shape: Sequence[int] = (), params: PyTree = None) -> PyTree:
        """The state that was given, of all rows."""
        return self.own

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, PyTree]:
        """Advance one time step, and show the first field of the state."""
        new = self.function(params, state, x)
        return new, new[0]

    def output_of(self, state: PyTree, x: PyTree) -> PyTree:
        """The first field of the state."""
        return state[0]


@dataclass(frozen=True)
class StepOf:
    """`apply` of a cell as a value: a closure would equal only itself."""

    cell: Any

    def __call__(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None
    ) -> tuple[PyTree, PyTree]:
        """Advance one time step, and say what to show of it."""
        return apply(self.cell, params, state, x, rng)

    def anew(self) -> Apply:
        """The same, equal to nothing else."""
        return lambda params, state, x, rng: apply(self.cell, params, state, x, rng)


def is_value(cell: Any) -> bool:
    """Whether an equal cell does the same: a frozen dataclass, all of whose fields are compared.

    What the fields hold must be values as well. An object that equals itself alone is none, as it
    may change; a function is taken for one, as `unroll` says.

    >>> is_value(LSTM(3, 5)), is_value(BareStep(lstm_step))
    (True, False)
    """
    # Not by `getattr`: a subclass that is no dataclass itself can be given further attributes.
    if not getattr(vars(type(cell)).get("__dataclass_params__"), "frozen", False):
        return False
    if isinstance(cell, BareStep):
        return False
    if isinstance(cell, Transform) and not all(map(is_value, cell.children())):
        return False
    fields = dataclasses.fields(cell)  # pyright: ignore[reportArgumentType]
    if not all(field.compare for field in fields):
        return False
    try:
        hash(cell)
    except TypeError:
        return False
    return all(_stays(getattr(cell, field.name)) for field in fields)


def _stays(held: Any) -> bool:
    """Whether an equal of what a field of a cell holds is as good."""
    if isinstance(held, tuple | frozenset):
        return all(map(_stays, held))
    if dataclasses.is_dataclass(held) and not isinstance(held, type):
        return is_value(held)
    return held is None or callable(held) or type(held).__hash__ is not object.__hash__
