"""What a person wants to look at: the gates over time, and how far back a gradient reaches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax.types import Cell, P, PyTree, S, Step
from lstm_jax.unroll import first_field, prepare

G_co = TypeVar("G_co", covariant=True)
G = TypeVar("G")


@runtime_checkable
class GatedCell(Cell[P, S], Protocol[P, S, G_co]):
    """A cell that can say what its gates do."""

    def gates(self, params: P, state: S, x: Any, /) -> G_co:
        """The activations inside one step."""
        ...


class Trace(NamedTuple, Generic[S, G]):
    """Everything a cell did over a sequence.

    Attributes:
      states: the state after every step; for the LSTM ``h`` and ``c``, each ``[T, ..., H]``.
      gates: the activations inside every step; for the LSTM ``i, f, g, o``, each ``[T, ..., H]``.
    """

    states: S
    gates: G


def trace(cell: GatedCell[P, S, G], params: P, xs: PyTree, state: S | None = None) -> Trace[S, G]:
    """Run a cell over a sequence and keep every state and gate.

    Args:
      cell: a cell with a `gates` function, such as `LSTM`.
      params: the cell's parameters.
      xs: inputs ``[T, ..., I]``.
      state: state before the first step; the cell's own initial state when not given.

    Returns:
      `Trace` with leaves ``[T, ..., H]``.

    Raises:
      TypeError: when `cell` has no gates to show; otherwise as `unroll`.
      ValueError: as `unroll`.

    Reference:
      Karpathy, Johnson & Fei-Fei (2015), *Visualizing and understanding recurrent networks*.

    >>> from lstm_jax import LSTM
    >>> cell = LSTM(input_size=3, hidden_size=5)
    >>> seen = trace(cell, cell.init(jax.random.key(0)), jnp.ones((7, 3)))
    >>> seen.gates.f.shape, seen.states.c.shape
    ((7, 5), (7, 5))
    """
    if not isinstance(cell, GatedCell):
        raise TypeError(
            f"trace: cell must have init, initial_state, step and gates; got {type(cell).__name__}"
        )
    step, state, scan = prepare(cell, params, xs, state, name="trace")
    _, seen = scan(step, params, xs, state, emit=_EmitAll(cell))
    return seen


@dataclass(frozen=True)
class _EmitAll(Generic[P, S, G]):
    """What `trace` keeps of a step; a value as the cell is one, so that a scan is compiled once."""

    cell: GatedCell[P, S, G]

    def __call__(self, params: P, state_tm1: S, x_t: Any, state_t: S) -> Trace[S, G]:
        return Trace(states=state_t, gates=self.cell.gates(params, state_tm1, x_t))


def gradient_flow(
    cell: Cell[P, S],
    params: P,
    xs: PyTree,
    loss: Callable[[Float[Array, "T ... H"]], Float[Array, ""]],
    state: S | None = None,
) -> S:
    """How much of a loss's gradient arrives at each time step: ``||dL / ds_t||``.

    The state after step ``t`` is nudged on its way to step ``t + 1``, so the gradient is the one
    that flows back through time into ``h_t`` and ``c_t``. With a loss at the last step, the
    norm against ``T - t`` shows whether memory outlives the vanishing gradient.

    Args:
      cell: any cell.
      params: the cell's parameters.
      xs: inputs ``[T, ..., I]``.
      loss: scalar function of the outputs ``[T, ..., H]``, for example of ``outputs[-1]``. A sum
        over the batch gives every row its own gradient.
      state: state before the first step; the cell's own initial state when not given.

    Returns:
      A state of norms over the last axis, each field ``[T, ...]``. Nothing follows the last
      step, so the norm there is that of ``dL / dh_T`` through the output, and zero for ``c``.

    Raises:
      TypeError, ValueError: as `unroll`.

    Reference:
      Bengio, Simard & Frasconi (1994), *Learning long-term dependencies with gradient descent is
      difficult*; Pascanu, Mikolov & Bengio (2013), *On the difficulty of training recurrent
      neural networks*.

    >>> from lstm_jax import LSTM
    >>> cell = LSTM(input_size=3, hidden_size=5)
    >>> params = cell.init(jax.random.key(0))
    >>> flow = gradient_flow(cell, params, jnp.ones((7, 2, 3)), lambda hs: hs[-1].sum())
    >>> flow.c.shape
    (7, 2)
    """
    step, state, scan = prepare(cell, params, xs, state, name="gradient_flow")
    length = jax.tree.leaves(xs)[0].shape[0]
    nudges = jax.tree.map(lambda s: jnp.zeros((length, *s.shape), s.dtype), state)

    def loss_of(nudges: S) -> Float[Array, ""]:
        _, outputs = scan(_Nudged(step), params, (xs, nudges), state, emit=first_field)
        return loss(outputs)

    return jax.tree.map(_norm, jax.grad(loss_of)(nudges))


@dataclass(frozen=True)
class _Nudged(Generic[P, S]):
    """A step that adds to the state what comes with the input; a value as the step is one."""

    step: Step[P, S]

    def __call__(self, params: P, state_tm1: S, x_and_nudge: tuple[Any, S], /) -> S:
        x_t, nudge = x_and_nudge
        return jax.tree.map(jnp.add, self.step(params, state_tm1, x_t), nudge)


def _norm(vectors: Float[Array, "... H"]) -> Float[Array, "..."]:
    """Euclidean norms, also of vectors so short that their squares would underflow."""
    largest = jnp.max(jnp.abs(vectors), axis=-1, keepdims=True)
    scaled = vectors / jnp.where(largest > 0, largest, 1)
    return largest[..., 0] * jnp.linalg.norm(scaled, axis=-1)
