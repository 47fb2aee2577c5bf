"""An initial state that is a parameter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.containers import in_containers_of
from lstm_jax.transforms.own_structure import own_state
from lstm_jax.transforms.step_rng import StepRng, child_key, child_rng
from lstm_jax.transforms.transform import (
    AnyCell,
    StateTransform,
    gates,
    initial_state,
    sample_params,
    step,
)
from lstm_jax.transforms.wrap import check_is_cell, over_single_cells
from lstm_jax.types import PRNGKey, PyTree


class LearnedParams(NamedTuple):
    """Parameters of a cell, and its initial state.

    Attributes:
      cell: the cell's parameters.
      state: a state without batch axes.
    """

    cell: Any
    state: Any


def learned_initial_state(cell: AnyCell) -> AnyCell:
    """Make the initial state a parameter, shared by all rows.

    It starts with the values of the cell's own state. Resets return to it as well, so each reset
    adds to its gradient. It is not constrained: the normaliser of an `SLSTM` or `MLSTM`, which is
    positive by itself, can be learned below zero.

    Args:
      cell: any cell; each single cell inside of a stack or transform learns its own.

    Returns:
      A cell with the state of `cell`, and `LearnedParams` for each single cell.

    Raises:
      TypeError: when `cell` is not a cell.

    Reference:
      Forcada & Carrasco (1995), *Learning the initial state of a second-order recurrent neural
      network during regular-language inference*.

    >>> import lstm_jax as lj
    >>> cell = learned_initial_state(lj.LSTM(3, 5))
    >>> params = cell.init(jax.random.key(0))
    >>> grads = jax.grad(lambda p: lj.unroll(cell, p, jnp.ones((7, 2, 3)))[1].sum())(params)
    >>> grads.state.c.shape, bool((grads.state.c != 0).all())
    ((5,), True)
    """
    check_is_cell("learned_initial_state", cell)
    return over_single_cells(cell, LearnedInitialState)


@dataclass(frozen=True, repr=False)
class LearnedInitialState(StateTransform):
    """The result of `learned_initial_state` for a single cell."""

    cell: AnyCell

    def init(self, key: PRNGKey) -> LearnedParams:
        """Draw the parameters of the cell, and copy its own initial state.

        Args:
          key: typed random key.

        Returns:
          `LearnedParams`.
        """
        params = self.cell.init(key)
        return LearnedParams(params, initial_state(self.cell, params, ()))

    def initial_state(
        self, batch_shape: Sequence[int] = (), params: LearnedParams | None = None
    ) -> PyTree:
        """The learned state for every row; the cell's own if no parameters are given."""
        if params is None:
            return initial_state(self.cell, None, batch_shape)
        state = own_state(self.cell, None, _parts(params).state)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*batch_shape, *leaf.shape)), state)

    def step(
        self, params: LearnedParams, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> PyTree:
        """Advance one time step."""
        return step(self.cell, _parts(params).cell, state, x, child_rng(rng))

    def gates(
        self, params: LearnedParams, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> PyTree:
        """The gate activations of one step."""
        return gates(self.cell, _parts(params).cell, state, x, child_rng(rng))

    def sample_params(self, params: LearnedParams, key: PRNGKey) -> LearnedParams:
        """The parameters for one sequence, where a part of them is random."""
        of_cell, state = _parts(params)
        return LearnedParams(sample_params(self.cell, of_cell, child_key(key, 0)), state)


def _parts(params: Any) -> LearnedParams:
    """The parameters of the cell and the state, also from a mapping with these two."""
    return in_containers_of(LearnedParams(0, 0), params)
