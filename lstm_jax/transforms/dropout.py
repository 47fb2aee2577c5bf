"""Dropout of the inputs, of the hidden state, and of the candidate of a cell."""

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from lstm_jax.cells.cell import Activation, identity
from lstm_jax.transforms.own_structure import own_state
from lstm_jax.transforms.step_rng import StepRng, check_rate, child_key, child_rng, drop
from lstm_jax.transforms.transform import (
    AnyCell,
    SequenceCall,
    StateTransform,
    Transform,
    apply,
    gates,
)
from lstm_jax.transforms.wrap import check_is_cell, over_single_cells
from lstm_jax.types import PRNGKey, PyTree


def dropout(cell: AnyCell, rate: float, *, variational: bool = False) -> AnyCell:
    """Dropout of the inputs: ``x_t <- m_t * x_t / (1 - rate)``.

    Random numbers are drawn only if `unroll` is given a key; without one, nothing is dropped.

    Args:
      cell: any cell.
      rate: probability of a zero.
      variational: whether all steps of a sequence share one mask.

    Returns:
      A cell with the parameters and the state of `cell`.

    Raises:
      TypeError: when `cell` is not a cell.
      ValueError: when `rate` is not a probability.

    Reference:
      Zaremba, Sutskever & Vinyals (2014), *Recurrent neural network regularization* (a new mask
      at every step); Gal & Ghahramani (2016), *A theoretically grounded application of dropout in
      recurrent neural networks* (variational).

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> cell = lj.dropout(lj.LSTM(3, 5), 0.5)
    >>> params, xs = cell.init(jax.random.key(0)), jnp.ones((7, 3))
    >>> _, dropped = lj.unroll(cell, params, xs, key=jax.random.key(1))
    >>> _, whole = lj.unroll(cell, params, xs)
    >>> bool(jnp.array_equal(dropped, whole))
    False
    """
    check_is_cell("dropout", cell)
    check_rate("dropout", "rate", rate)
    return Dropout(cell, float(rate), variational)


def recurrent_dropout(cell: AnyCell, rate: float, *, variational: bool = True) -> AnyCell:
    """Dropout of the hidden state as input of the gates: ``h_{t-1} <- m * h_{t-1} / (1 - rate)``.

    The memory is not dropped: neither the cell state, nor in a GRU the ``h_{t-1}`` that is carried
    on. Each single cell inside of a stack or transform has its own mask.

    Args:
      cell: a cell that has memory besides ``h``, the first field of its state, or whose step has
        the hook ``on_recurrent``; or a cell made of such cells.
      rate: probability of a zero.
      variational: whether all steps of a sequence share one mask, as in the paper.

    Returns:
      A cell with the parameters and the state of `cell`.

    Raises:
      TypeError: when `cell` is not a cell, or ``h`` is all of its memory and there is no such hook.
      ValueError: when `rate` is not a probability.

    Reference:
      Gal & Ghahramani (2016), *A theoretically grounded application of dropout in recurrent neural
      networks*.

    >>> import lstm_jax as lj
    >>> recurrent_dropout(lj.LSTM(3, 5), 0.25)
    RecurrentDropout(cell=LSTM(input_size=3, hidden_size=5), rate=0.25)
    """
    check_is_cell("recurrent_dropout", cell)
    check_rate("recurrent_dropout", "rate", rate)

    def wrap(single: AnyCell) -> AnyCell:
        fields = jax.tree.leaves(jax.eval_shape(single.initial_state))
        if len(fields) == 1 and not _has_hook(single, "on_recurrent"):
            raise TypeError(
                "recurrent_dropout: cell must have memory besides h, or a step with the keyword"
                f" on_recurrent; got {single}"
            )
        return RecurrentDropout(single, float(rate), variational)

    return over_single_cells(cell, wrap, inside=_HookTransform)


def candidate_dropout(cell: AnyCell, rate: float, *, variational: bool = False) -> AnyCell:
    """Dropout of the candidate: ``c_t = f * c_{t-1} + i * (m_t * g) / (1 - rate)``.

    Only new contents of the memory are dropped; how long old contents stay depends on the forget
    gate alone.

    Args:
      cell: a cell whose step has the hook ``on_candidate``, or a cell made of such cells.
      rate: probability of a zero.
      variational: whether all steps of a sequence share one mask.

    Returns:
      A cell with the parameters and the state of `cell`.

    Raises:
      TypeError: when `cell` is not a cell, or has no such hook.
      ValueError: when `rate` is not a probability.

    Reference:
      Semeniuta, Severyn & Barth (2016), *Recurrent dropout without memory loss*.

    >>> import lstm_jax as lj
    >>> candidate_dropout(lj.LSTM(3, 5), 0.25)
    CandidateDropout(cell=LSTM(input_size=3, hidden_size=5), rate=0.25)
    """
    check_is_cell("candidate_dropout", cell)
    check_rate("candidate_dropout", "rate", rate)

    def wrap(single: AnyCell) -> AnyCell:
        if not _has_hook(single, "on_candidate"):
            raise TypeError(
                "candidate_dropout: cell must have a step with the keyword on_candidate;"
                f" got {single}"
            )
        return CandidateDropout(single, float(rate), variational)

    return over_single_cells(cell, wrap, inside=_HookTransform)


@dataclass(frozen=True, repr=False)
class Dropout(Transform):
    """The result of `dropout`."""

    draws: ClassVar[bool] = True

    cell: AnyCell
    rate: float
    variational: bool = False

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, PyTree]:
        """Advance one time step with dropout of the input."""
        return apply(self.cell, params, state, self._dropped(x, rng), child_rng(rng))

    def gates(self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None) -> PyTree:
        """The gate activations of one step with dropout of the input."""
        return gates(self.cell, params, state, self._dropped(x, rng), child_rng(rng))

    def apply_sequence(
        self, call: SequenceCall, params: PyTree, xs: PyTree, state: PyTree, key: PRNGKey | None
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Unroll the cell with dropout of its inputs."""
        if key is not None:
            xs = jax.vmap(lambda x, t: self._dropped(x, StepRng(key, t)))(xs, call.times)
        return call.unroll_child(self.cell, params, xs, state, child_key(key, 0))

    def _dropped(self, x: PyTree, rng: StepRng | None) -> PyTree:
        return _drop(self, rng, x)


class _HookTransform(StateTransform):
    """Base of transforms that pass hooks ``on_...`` to the step of a bare cell."""

    draws: ClassVar[bool] = True

    def _step(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None, **hooks: Activation
    ) -> PyTree:
        """A step of the cell with hooks."""
        stepped: Any = self.cell.step
        inner = (child_rng(rng),) if isinstance(self.cell, _HookTransform) else ()
        return stepped(params, state, x, *inner, **hooks)


def _has_hook(cell: AnyCell, name: str) -> bool:
    """Whether the step of a bare cell, or of one inside of hook transforms, has a hook."""
    while isinstance(cell, _HookTransform):
        cell = cell.cell
    return name in inspect.signature(cell.step).parameters


@dataclass(frozen=True, repr=False)
class RecurrentDropout(_HookTransform):
    """The result of `recurrent_dropout` for a single cell."""

    cell: AnyCell
    rate: float
    variational: bool = True

    def step(
        self,
        params: PyTree,
        state: PyTree,
        x: PyTree,
        rng: StepRng | None = None,
        *,
        on_recurrent: Activation = identity,
        **hooks: Activation,
    ) -> PyTree:
        """Advance one time step with dropout of the hidden state that the gates read."""
        if not _has_hook(self.cell, "on_recurrent"):
            return self._step(params, self._dropped(params, state, rng), x, rng, **hooks)

        def dropped(h: jax.Array) -> jax.Array:
            return _drop(self, rng, on_recurrent(h))

        return self._step(params, state, x, rng, on_recurrent=dropped, **hooks)

    def gates(self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None) -> PyTree:
        """The gate activations of one step with dropout of the hidden state."""
        return gates(self.cell, params, self._dropped(params, state, rng), x, child_rng(rng))

    def _dropped(self, params: PyTree, state: PyTree, rng: StepRng | None) -> PyTree:
        (h, *memory), structure = jax.tree.flatten(own_state(self.cell, params, state))
        return jax.tree.unflatten(structure, [_drop(self, rng, h), *memory])


@dataclass(frozen=True, repr=False)
class CandidateDropout(_HookTransform):
    """The result of `candidate_dropout` for a single cell."""

    cell: AnyCell
    rate: float
    variational: bool = False

    def step(
        self,
        params: PyTree,
        state: PyTree,
        x: PyTree,
        rng: StepRng | None = None,
        *,
        on_candidate: Activation = identity,
        **hooks: Activation,
    ) -> PyTree:
        """Advance one time step with dropout of the candidate."""

        def dropped(g: jax.Array) -> jax.Array:
            return _drop(self, rng, on_candidate(g))

        return self._step(params, state, x, rng, on_candidate=dropped, **hooks)


def _drop(
    transform: Dropout | RecurrentDropout | CandidateDropout, rng: StepRng | None, x: PyTree
) -> PyTree:
    if rng is None:
        return x
    key = rng.sequence_key if transform.variational else rng.step_key
    return drop(key, transform.rate, x)
