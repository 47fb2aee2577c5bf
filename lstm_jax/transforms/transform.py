"""The base classes of transforms, and the functions that call any cell.

A bare cell is three pure functions. A `Transform`, which is a cell made of cells, has more: random
keys for its cells, an initial state that may depend on its parameters, and an output that may
differ from its state. The functions of this module (`apply`, `initial_state`, `output_of`, ...)
work for both: they call the method of a `Transform`, and need only `step` and `initial_state` of a
bare cell.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import jax

from lstm_jax.cells.short_repr import short_repr
from lstm_jax.copies import Copyable
from lstm_jax.transforms.sequence_call import SequenceCall
from lstm_jax.transforms.sizes import input_size, output_size
from lstm_jax.transforms.step_rng import StepRng, child_key, child_rng
from lstm_jax.types import Cell, PRNGKey, PyTree

AnyCell = Cell[Any, Any]


class Transform(Copyable):
    """Base of cells that are made of cells; a frozen dataclass with the inner cell in `cell`.

    The base class changes nothing. A subclass overrides what it changes, most often `apply`. It
    overrides `apply_sequence` as well if backends that run whole sequences are to run its cells.

    Attributes:
      has_steps: false where only `apply_sequence` can compute it.
      draws: true where it draws random numbers itself.
      cell: the inner cell.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> @dataclasses.dataclass(frozen=True, repr=False)
    ... class Doubled(Transform):
    ...     cell: AnyCell
    ...
    ...     def apply(self, params, state, x, rng=None):
    ...         state, y = apply(self.cell, params, state, x, child_rng(rng))
    ...         return state, 2 * y
    >>> cell = Doubled(lj.LSTM(3, 5))
    >>> final, outputs = lj.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((7, 3)))
    >>> bool((outputs[-1] == 2 * final.h).all())
    True
    """

    has_steps: ClassVar[bool] = True
    draws: ClassVar[bool] = False
    cell: AnyCell

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if {"step", "apply"} & vars(cls).keys() == {"step"} and not issubclass(cls, StateTransform):
            raise TypeError(
                f"{cls.__name__}: a Transform overrides apply, not step; or derive from"
                " StateTransform"
            )

    def __repr__(self) -> str:
        return short_repr(self)

    def children(self) -> tuple[AnyCell, ...]:
        """The cells inside of this one."""
        return (self.cell,)

    def with_children(self, cells: Sequence[AnyCell]) -> Self:
        """The same transform of other cells."""
        (cell,) = cells
        return dataclasses.replace(self, cell=cell)  # pyright: ignore[reportArgumentType]

    def init(self, key: PRNGKey) -> PyTree:
        """Draw parameters: those of the cell."""
        return self.cell.init(key)

    def initial_state(self, batch_shape: Sequence[int] = (), params: PyTree = None) -> PyTree:
        """The state before the first step.

        Args:
          batch_shape: the batch axes.
          params: what `init` draws, for cells with a learned initial state; or None.

        Returns:
          A pytree of arrays ``[*batch_shape, ...]``.
        """
        return initial_state(self.cell, params, batch_shape)

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, PyTree]:
        """Advance one time step, and return the output.

        Args:
          params: what `init` draws.
          state: ``s_{t-1}``.
          x: input ``x_t``.
          rng: key and index of the step; without it no random numbers are drawn.

        Returns:
          ``(s_t, y_t)``.
        """
        return apply(self.cell, params, state, x, child_rng(rng))

    def step(self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None) -> PyTree:
        """Advance one time step: ``s_t``, the first result of `apply`."""
        return self.apply(params, state, x, rng)[0]

    def gates(self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None) -> PyTree:
        """The gates of one step: those of the cell."""
        return gates(self.cell, params, state, x, child_rng(rng))

    def output_of(self, state: PyTree, x: PyTree) -> PyTree:
        """The output of a state before any step, for an input `x` of zeros."""
        return output_of(self.cell, state, x)

    def sample_params(self, params: PyTree, key: PRNGKey) -> PyTree:
        """The parameters for one sequence, where a part of them is drawn at random."""
        return sample_params(self.cell, params, child_key(key, 0))

    def apply_sequence(
        self, call: SequenceCall, params: PyTree, xs: PyTree, state: PyTree, key: PRNGKey | None
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Do `apply` for all steps: unroll the cells inside, each over the whole sequence.

        Args:
          call: unrolls the cells inside.
          params: parameters, sampled for the sequence.
          xs: inputs ``[T, ...]``.
          state: state before the first step.
          key: random key of this cell; without it no random numbers are drawn.

        Returns:
          ``(final, outputs, states)``.

        Raises:
          TypeError: when a subclass overrides `apply` and not this.
        """
        if not sequence_follows_steps(self):
            raise TypeError(
                f"{type(self).__name__}: has no apply_sequence, but its cell needs the whole"
                f" sequence; got {self.children()}"
            )
        return call.unroll_child(self.cell, params, xs, state, child_key(key, 0))

    def batch_shape(self, x: PyTree) -> tuple[int, ...]:
        """The batch axes of an input."""
        return batch_shape(self.children()[0], x)

    @property
    def input_size(self) -> int | None:
        """Number of input features, or None where it is not known."""
        return input_size(self.children()[0])

    @property
    def output_size(self) -> int | None:
        """Number of output features, or None where it is not known."""
        return output_size(self.children()[-1])


class StateTransform(Transform, ABC):
    """Base of transforms that change how a state follows from the one before it.

    A subclass overrides `step`; the output is the first field of the state. Such a transform wraps
    each single cell inside of a stack or another transform, see `over_single_cells`.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> @dataclasses.dataclass(frozen=True, repr=False)
    ... class Halved(StateTransform):
    ...     cell: AnyCell
    ...
    ...     def step(self, params, state, x, rng=None):
    ...         new = step(self.cell, params, state, x, child_rng(rng))
    ...         return jax.tree.map(lambda leaf: leaf / 2, new)
    >>> cell = lj.transforms.over_single_cells(lj.stack(lj.LSTM(3, 5), lj.LSTM(5, 5)), Halved)
    >>> [type(layer).__name__ for layer in cell.children()]
    ['Halved', 'Halved']
    """

    def __post_init__(self) -> None:
        if isinstance(self.cell, Transform) and len(self.cell.children()) > 1:
            raise TypeError(
                f"{type(self).__name__}: cell must be a single cell, see over_single_cells; got"
                f" {self.cell}"
            )

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, PyTree]:
        """Advance one time step; the output is the first field of the state."""
        new = self.step(params, state, x, rng)
        return new, new[0]

    @abstractmethod
    def step(self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None) -> PyTree:
        """Advance one time step."""


@runtime_checkable
class LinearCell(Protocol):
    """A cell that is linear in its state, so that all of its steps can run in parallel."""

    def coefficients(self, params: Any, x: Any, /) -> tuple[jax.Array, jax.Array]:
        """``a`` and ``b`` of ``h_t = a * h_{t-1} + b``, each ``[..., H]``, from ``x`` alone."""
        ...


def initial_state(cell: AnyCell, params: PyTree, batch_shape: Sequence[int]) -> PyTree:
    """The state of any cell before the first step.

    Args:
      cell: any cell.
      params: its parameters, for a learned initial state; or None.
      batch_shape: the batch axes.

    Returns:
      A pytree of arrays ``[*batch_shape, ...]``.

    >>> import lstm_jax as lj
    >>> initial_state(lj.LSTM(3, 5), None, (2,)).h.shape
    (2, 5)
    """
    if isinstance(cell, Transform):
        return cell.initial_state(batch_shape, params)
    return cell.initial_state(batch_shape)


def apply(
    cell: AnyCell, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
) -> tuple[PyTree, PyTree]:
    """One step of any cell: the state and the output.

    Args:
      cell: any cell.
      params: its parameters.
      state: ``s_{t-1}``.
      x: input ``x_t``.
      rng: key and index of the step, see `child_rng`; without it no random numbers are drawn.

    Returns:
      ``(s_t, y_t)``.

    >>> import lstm_jax as lj
    >>> cell = lj.skip(lj.LSTM(3, 5))
    >>> x, params = jax.numpy.ones(3), cell.init(jax.random.key(0))
    >>> state, y = apply(cell, params, cell.initial_state(), x)
    >>> state.h.shape, y.shape
    ((5,), (8,))
    """
    if isinstance(cell, Transform):
        return cell.apply(params, state, x, rng)
    new = cell.step(params, state, x)
    return new, new[0]


def step(
    cell: AnyCell, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
) -> PyTree:
    """One step of any cell: the state, which is the first result of `apply`.

    Args:
      cell, params, state, x, rng: as in `apply`.

    Returns:
      ``s_t``.

    >>> import lstm_jax as lj
    >>> cell = lj.TanhRNN(3, 5)
    >>> x, params = jax.numpy.ones(3), cell.init(jax.random.key(0))
    >>> step(cell, params, cell.initial_state(), x).h.shape
    (5,)
    """
    return apply(cell, params, state, x, rng)[0]


def gates(
    cell: Any, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
) -> PyTree:
    """The gate activations of one step of any cell that has gates.

    Args:
      cell, params, state, x, rng: as in `apply`.

    Returns:
      What ``cell.gates`` returns, for the LSTM `LSTMGates`; None for a cell without gates.

    >>> import lstm_jax as lj
    >>> cell = lj.dropout(lj.LSTM(3, 5), 0.5)
    >>> x, params = jax.numpy.ones(3), cell.init(jax.random.key(0))
    >>> gates(cell, params, cell.initial_state(), x).f.shape
    (5,)
    """
    if isinstance(cell, Transform):
        return cell.gates(params, state, x, rng)
    return cell.gates(params, state, x) if has_gates(cell) else None


def has_gates(cell: Any) -> bool:
    """Whether a cell, or one inside of it, has gates."""
    if isinstance(cell, Transform):
        return any(map(has_gates, cell.children()))
    return isinstance(cell, Cell) and hasattr(cell, "gates")


def output_of(cell: AnyCell, state: PyTree, x: PyTree) -> PyTree:
    """The output of any cell for a state that no step has computed, such as the initial state.

    Args:
      cell: any cell.
      state: its state.
      x: an input of zeros.

    Returns:
      What `apply` would have returned with this state.

    >>> import lstm_jax as lj
    >>> cell = lj.residual(lj.LSTM(3, 3))
    >>> output_of(cell, cell.initial_state(), jax.numpy.zeros(3)).tolist()
    [0.0, 0.0, 0.0]
    """
    return cell.output_of(state, x) if isinstance(cell, Transform) else state[0]


def sample_params(cell: AnyCell, params: PyTree, key: PRNGKey | None) -> PyTree:
    """The parameters for one sequence, where a part of them is random, as in `weight_drop`.

    Args:
      cell: any cell.
      params: what its `init` draws.
      key: its key, see `child_key`; None for the parameters themselves.

    Returns:
      Parameters for `apply`.

    >>> import lstm_jax as lj
    >>> cell = lj.weight_drop(lj.LSTM(3, 5), 1.0)
    >>> params = cell.init(jax.random.key(0))
    >>> bool(sample_params(cell, params, jax.random.key(1)).recurrent_kernel.any())
    False
    """
    if key is None or not isinstance(cell, Transform):
        return params
    return cell.sample_params(params, key)


def draws(cell: Any) -> bool:
    """Whether a cell draws random numbers where it is given a key.

    >>> import lstm_jax as lj
    >>> draws(lj.LSTM(3, 5)), draws(lj.stack(lj.LSTM(3, 5), lj.LSTM(5, 5), dropout=0.5))
    (False, True)
    """
    return isinstance(cell, Transform) and (cell.draws or any(map(draws, cell.children())))


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


def needs_sequence(cell: Any) -> bool:
    """Whether a cell has no single step, as one inside of it needs the whole sequence."""
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
