"""Diagnostics of a cell: its gates over time, and how far back a gradient reaches."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from lstm_jax.backends import scan_request
from lstm_jax.backends.request import Result
from lstm_jax.inputs import first_input
from lstm_jax.masks import Flags
from lstm_jax.transforms.step_rng import StepRng
from lstm_jax.transforms.transform import (
    Transform,
    apply,
    gates,
    has_gates,
    needs_sequence,
    output_of,
)
from lstm_jax.types import Cell, P, PRNGKey, PyTree, S
from lstm_jax.unroll import UnrollCall, prepare

G_co = TypeVar("G_co", covariant=True)
G = TypeVar("G")


class GatedCell(Cell[P, S], Protocol[P, S, G_co]):
    """A cell with a function that returns its gate activations."""

    def gates(self, params: P, state: S, x: Any, /) -> G_co:
        """The gate activations of one step."""
        ...


class Trace(NamedTuple, Generic[S, G]):
    """All states and gate activations of a cell over a sequence.

    Attributes:
      states: the state after every step; for the LSTM ``h`` and ``c``, each ``[T, ..., H]``.
      gates: the gate activations of every step; for the LSTM ``i, f, g, o``, each ``[T, ..., H]``.
    """

    states: S
    gates: G


def trace(
    cell: GatedCell[P, S, G],
    params: P,
    xs: PyTree,
    state: S | None = None,
    *,
    lengths: Int[ArrayLike, "..."] | None = None,
    mask: Flags | None = None,
    reset: Flags | None = None,
    reverse: bool = False,
    key: PRNGKey | None = None,
    start: int | Int[Array, ""] = 0,
) -> Trace[S, G]:
    """Unroll a cell over a sequence and return every state and gate activation.

    Args:
      cell: a cell with a function `gates`, such as `LSTM`, or a cell made of such cells. A stack
        has a tuple of gates, one for each layer, with None for a layer that has no gates; the two
        directions of `bidirectional` are `Directions`.
      params: the cell's parameters.
      xs: inputs ``[T, ..., I]``.
      state: state before the first step; the cell's own initial state when not given.
      lengths: as in `unroll`. Masked steps keep the state, and their gates are zero.
      mask: as in `unroll`.
      reset: as in `unroll`.
      reverse: as in `unroll`; everything stays in the order of the inputs.
      key: as in `unroll`.
      start: as in `unroll`.

    Returns:
      `Trace` with leaves ``[T, ..., H]``.

    Raises:
      TypeError: when `cell` has no gates; otherwise as `unroll`.
      ValueError: as `unroll`.

    Reference:
      Karpathy, Johnson & Fei-Fei (2015), *Visualizing and understanding recurrent networks*.

    >>> from lstm_jax import LSTM
    >>> cell = LSTM(input_size=3, hidden_size=5)
    >>> traced = trace(cell, cell.init(jax.random.key(0)), jnp.ones((7, 3)))
    >>> traced.gates.f.shape, traced.states.c.shape
    ((7, 5), (7, 5))
    """
    if not has_gates(cell):
        raise TypeError(
            f"trace: cell must have init, initial_state, step and gates; got {type(cell).__name__}"
        )
    call = prepare(
        "trace", cell, params, xs, state,
        lengths=lengths, mask=mask, reset=reset, reverse=reverse, key=key, start=start,
    )  # fmt: skip
    arguments = {field.name: getattr(call, field.name) for field in dataclasses.fields(call)}
    _, _, traces = _TracedCall(**arguments).compute()
    return Trace(
        jax.tree.map(lambda traced: traced.states, traces, is_leaf=_is_trace),
        jax.tree.map(lambda traced: traced.gates, traces, is_leaf=_is_trace),
    )


class _TracedCall(UnrollCall):
    """A call whose states are a `Trace`; of cells that need the whole sequence, one for each."""

    def compute(self) -> Result:
        """``(final, outputs, traces)``."""
        if needs_sequence(self.cell):
            return self._compute_children()
        final, ((outputs, all_gates), states) = scan_request(self, _EmitGates(self.cell))
        return final, outputs, Trace(states, all_gates)


def _is_trace(tree: PyTree) -> bool:
    return isinstance(tree, Trace)


@dataclass(frozen=True)
class _EmitGates:
    """Stack outputs, gates and states.

    It has value semantics if the cell has, so the scan compiles once.
    """

    cell: Any

    def __call__(
        self, params: Any, state_tm1: Any, x_t: Any, state_t: Any, y_t: Any, rng: StepRng | None
    ) -> tuple[Any, Any]:
        return (y_t, gates(self.cell, params, state_tm1, x_t, rng)), state_t


def gradient_flow(
    cell: Cell[P, S],
    params: P,
    xs: PyTree,
    loss: Callable[[Float[Array, "T ... H"]], Float[Array, ""]],
    state: S | None = None,
) -> S:
    """How much of a loss's gradient arrives at each time step: ``||dL / ds_t||``.

    It is the gradient with respect to the state after step ``t``, which flows back through time
    into ``h_t`` and ``c_t``. For a loss of the last output, a plot of the norm against ``T - t``
    indicates whether the gradient vanishes.

    Args:
      cell: any cell.
      params: the cell's parameters.
      xs: inputs ``[T, ..., I]``.
      loss: scalar function of the outputs ``[T, ..., H]``, for example of ``outputs[-1]``. With a
        sum over the batch, the gradients of the rows are independent.
      state: state before the first step; the cell's own initial state when not given.

    Returns:
      A state of norms over the last axis, each field ``[T, ...]``. No step follows the last one, so
      its norm is that of ``dL / dh_T`` through the output, and zero for ``c``.

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
    call = prepare("gradient_flow", cell, params, xs, state)
    if needs_sequence(call.cell):
        raise TypeError(
            f"gradient_flow: cell must have single steps; got {call.cell}, which needs the whole"
            " sequence"
        )
    T = jax.tree.leaves(call.xs)[0].shape[0]
    x_1 = first_input("gradient_flow", call.xs)
    new, _ = jax.eval_shape(functools.partial(apply, call.cell), call.params, call.state, x_1)
    # Add zeros to every state: the gradient with respect to them is that of the state.
    zeros = jax.tree.map(lambda s: jnp.zeros((T, *s.shape), s.dtype), new)

    def loss_of(zeros: S) -> Float[Array, ""]:
        perturbed = dataclasses.replace(call, cell=_Perturbed(call.cell), xs=(call.xs, zeros))
        _, outputs, _ = perturbed.compute()
        return loss(outputs)

    return jax.tree.map(_norm, jax.grad(loss_of)(zeros))


@dataclass(frozen=True, repr=False)
class _Perturbed(Transform):
    """A cell that adds a part of its input to its state; the output changes accordingly."""

    cell: Any

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, PyTree]:
        """Advance one time step, and add to the state and to the output."""
        x_t, perturbation = x
        new, y_t = apply(self.cell, params, state, x_t, rng)
        perturbed = jax.tree.map(jnp.add, new, perturbation)
        # The perturbation is zero: the output keeps its value, and gets its derivative.
        change = output_of(self.cell, perturbed, x_t) - output_of(self.cell, new, x_t)
        return perturbed, y_t + change


def _norm(vectors: Float[Array, "... H"]) -> Float[Array, "..."]:
    """Euclidean norms, also of vectors so short that their squares would underflow."""
    largest = jnp.max(jnp.abs(vectors), axis=-1, keepdims=True)
    scaled = vectors / jnp.where(largest > 0, largest, 1)
    return largest[..., 0] * jnp.linalg.norm(scaled, axis=-1)
