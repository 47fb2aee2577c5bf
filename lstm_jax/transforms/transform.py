"""What a function from cells to cells gives: a cell made of cells.

A bare cell is three pure functions. A cell made of cells knows more: how random numbers reach its
cells, what its parameters say about its initial state, and what it shows. The functions of this
module ask a `Transform` for these, and give the plain answer for a bare cell.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import jax

from lstm_jax.cells.cell import short_repr
from lstm_jax.transforms.step_rng import StepRng, child_key, child_rng
from lstm_jax.types import Cell, PRNGKey, PyTree

AnyCell = Cell[Any, Any]


class SequenceCall(Protocol):
    """What a transform unrolls its cells with, each over the whole sequence."""

    @property
    def times(self) -> jax.Array | None:
        """Index of every step ``[T]``; None without a key."""
        ...

    def zero_masked(self, xs: PyTree) -> PyTree:
        """The inputs with zeros at masked steps."""
        ...

    def unroll_child(
        self,
        cell: AnyCell,
        params: PyTree,
        xs: PyTree,
        state: PyTree,
        key: PRNGKey | None,
        *,
        opposite: bool = False,
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Unroll a cell, in the opposite direction of time if asked: ``(final, outputs, states)``."""
        ...


class Transform:
    """Base of cells that are made of cells; a frozen dataclass, with one in the field ``cell``.

    As it stands it changes nothing. A subclass says what it changes: most often `apply` alone, and
    `run` as well if it is to go around cells that are given their whole sequence at once.

    Attributes:
      has_steps: false for one that only `run` can run.
      draws: true for one that draws random numbers itself.
    """

    has_steps: ClassVar[bool] = True
    draws: ClassVar[bool] = False
    cell: AnyCell

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if {"step", "apply"} & vars(cls).keys() == {"step"} and not issubclass(cls, StateTransform):
            raise TypeError(
                f"{cls.__name__}: a Transform says what it changes in apply, not in step; or derive"
                " from StateTransform"
            )

    def __repr__(self) -> str:
        return short_repr(self)

    def children(self) -> tuple[AnyCell, ...]:
        """The cells that this one is made of."""
        return (self.cell,)

    def with_children(self, cells: Sequence[AnyCell]) -> Self:
        """The same made of other cells."""
        (cell,) = cells
        return dataclasses.replace(self, cell=cell)  # pyright: ignore[reportArgumentType]

    def init(self, key: PRNGKey) -> PyTree:
        """Draw parameters: those of the cell.

        Args:
          key: typed random key.

        Returns:
          A pytree of arrays.
        """
        return self.cell.init(key)

    def initial_state(self, batch_shape: Sequence[int] = (), params: PyTree = None) -> PyTree:
        """The state before the first step.

        Args:
          batch_shape: the batch axes.
          params: what `init` draws, for cells whose initial state is learned.

        Returns:
          A pytree of arrays ``[*batch_shape, ...]``.
        """
        return initial_state(self.cell, params, batch_shape)

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, PyTree]:
        """Advance one time step, and say what to show of it.

        Args:
          params: what `init` draws.
          state: ``s_{t-1}``.
          x: input ``x_t``.
          rng: what random numbers are drawn from; none are drawn without.

        Returns:
          ``(s_t, y_t)``.
        """
        return apply(self.cell, params, state, x, child_rng(rng))

    def step(self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None) -> PyTree:
        """Advance one time step: ``s_t``, the first of what `apply` gives.

        Args:
          params: what `init` draws.
          state: ``s_{t-1}``.
          x: input ``x_t``.
          rng: what random numbers are drawn from; none are drawn without.

        Returns:
          ``s_t``.
        """
        return self.apply(params, state, x, rng)[0]

    def gates(self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None) -> PyTree:
        """The activations inside one step: those of the cell."""
        return gates(self.cell, params, state, x, child_rng(rng))

    def output_of(self, state: PyTree, x: PyTree) -> PyTree:
        """What is shown of a state that no step led to, and of an input of zeros."""
        return output_of(self.cell, state, x)

    def sample_params(self, params: PyTree, key: PRNGKey) -> PyTree:
        """The parameters for one sequence, where they depend on random numbers."""
        return sample_params(self.cell, params, child_key(key, 0))

    def apply_sequence(
        self, call: SequenceCall, params: PyTree, xs: PyTree, state: PyTree, key: PRNGKey | None
    ) -> tuple[PyTree, PyTree, PyTree]:
        """`apply` for all steps, for a cell that is given its whole sequence at once.

        Args:
          call: unrolls the cells inside.
          params: parameters, bound to the sequence.
          xs: inputs ``[T, ...]``.
          state: state before the first step.
          key: what random numbers are drawn from; none are drawn without.

        Returns:
          ``(final, outputs, states)``.

        Raises:
          TypeError: when a subclass changes `apply` and not this.
        """
        if not sequence_follows_steps(self):
            raise TypeError(
                f"{type(self).__name__}: goes step by step, having no run, but its cell needs the"
                f" whole sequence; got {self.children()}"
            )
        return call.unroll_child(self.cell, params, xs, state, child_key(key, 0))

    def batch_shape(self, x: PyTree) -> tuple[int, ...]:
        """The batch axes of an input."""
        return batch_shape(self.children()[0], x)

    @property
    def input_size(self) -> int | None:
        """Features of the input, where they are known."""
        return input_size(self.children()[0])

    @property
    def output_size(self) -> int | None:
        """Features of what is shown, where they are known."""
        return output_size(self.children()[-1])


class StateTransform(Transform, ABC):
    """Base of those that change how a state follows from the last; its first field is shown.

    They go around each single cell of a cell that is made of several, see `over_single_cells`.
    """

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, PyTree]:
        """Advance one time step, and show the first field of the state."""
        new = self.step(params, state, x, rng)
        return new, new[0]

    @abstractmethod
    def step(self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None) -> PyTree:
        """Advance one time step."""


@runtime_checkable
class LinearCell(Protocol):
    """A cell that is linear in its state, so that all its steps can be taken in parallel."""

    def coefficients(self, params: Any, x: Any, /) -> tuple[jax.Array, jax.Array]:
        """``a`` and ``b`` of ``h_t = a * h_{t-1} + b``, each ``[..., H]``, from ``x`` alone."""
        ...


def check_cell(function: str, cell: Any) -> None:
    """Raise unless `cell` is one.

    >>> from lstm_jax import LSTM
    >>> check_cell("dropout", LSTM)
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
    """Put a transform around each single cell that `cell` is made of.

    Args:
      cell: any cell.
      wrap: the transform.
      inside: what counts as a single cell, besides bare ones.

    Returns:
      A cell like `cell`.
    """
    if isinstance(cell, Transform) and not isinstance(cell, inside):
        wrapped = [over_single_cells(child, wrap, inside=inside) for child in cell.children()]
        return cell.with_children(wrapped)
    return wrap(cell)


def initial_state(cell: AnyCell, params: PyTree, batch_shape: Sequence[int]) -> PyTree:
    """The state of a cell before the first step, `params` being None or those of the cell."""
    if isinstance(cell, Transform):
        return cell.initial_state(batch_shape, params)
    return cell.initial_state(batch_shape)


def apply(
    cell: AnyCell, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
) -> tuple[PyTree, PyTree]:
    """One step of any cell, and what it shows: ``(s_t, y_t)``."""
    if isinstance(cell, Transform):
        return cell.apply(params, state, x, rng)
    new = cell.step(params, state, x)
    return new, new[0]


def step(
    cell: AnyCell, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
) -> PyTree:
    """One step of any cell: ``s_t``."""
    return apply(cell, params, state, x, rng)[0]


def gates(
    cell: Any, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
) -> PyTree:
    """The activations inside one step of any cell."""
    if isinstance(cell, Transform):
        return cell.gates(params, state, x, rng)
    return cell.gates(params, state, x)


def has_gates(cell: Any) -> bool:
    """Whether `gates` has something to give."""
    if isinstance(cell, Transform):
        return all(map(has_gates, cell.children()))
    return isinstance(cell, Cell) and hasattr(cell, "gates")


def output_of(cell: AnyCell, state: PyTree, x: PyTree) -> PyTree:
    """What any cell shows of a state that no step led to, and of an input of zeros."""
    return cell.output_of(state, x) if isinstance(cell, Transform) else state[0]


def sample_params(cell: AnyCell, params: PyTree, key: PRNGKey | None) -> PyTree:
    """The parameters for one sequence, where they depend on random numbers."""
    return (
        params
        if key is None or not isinstance(cell, Transform)
        else cell.sample_params(params, key)
    )


def draws(cell: Any) -> bool:
    """Whether a cell draws random numbers where it is given a key.

    >>> import lstm_jax as lj
    >>> draws(lj.LSTM(3, 5)), draws(lj.stack(lj.LSTM(3, 5), lj.LSTM(5, 5), dropout=0.5))
    (False, True)
    """
    return isinstance(cell, Transform) and (cell.draws or any(map(draws, cell.children())))


def param_shapes(cell: AnyCell) -> PyTree:
    """The shapes and dtypes of what a cell's `init` draws.

    >>> import lstm_jax as lj
    >>> param_shapes(lj.LSTM(3, 5)).bias.shape
    (20,)
    """
    return jax.eval_shape(cell.init, jax.random.key(0))


def batch_shape(cell: Any, x: PyTree) -> tuple[int, ...]:
    """The batch axes of one step's input: all but the last, unless the cell says otherwise."""
    if hasattr(cell, "batch_shape"):
        return cell.batch_shape(x)
    return jax.tree.leaves(x)[0].shape[:-1]


def input_size(cell: Any) -> int | None:
    """Features of the input, where the cell says it."""
    return getattr(cell, "input_size", None)


def output_size(cell: Any) -> int | None:
    """Features of what a cell shows, where it is known."""
    if isinstance(cell, Transform):
        return cell.output_size
    return jax.eval_shape(cell.initial_state)[0].shape[-1]


def needs_sequence(cell: Any) -> bool:
    """Whether a cell cannot go step by step, as one of its cells needs the whole sequence."""
    return isinstance(cell, Transform) and (
        not cell.has_steps or any(map(needs_sequence, cell.children()))
    )


def sequence_follows_steps(cell: Transform) -> bool:
    """Whether `apply_sequence` computes what `apply` does: no class overrides `apply` alone."""
    of_sequence, of_step = (
        next(k for k, kind in enumerate(type(cell).__mro__) if name in vars(kind))
        for name in ("apply_sequence", "apply")
    )
    return of_sequence <= of_step
