"""States as the cell's own, from what callers and files have: plain containers, integers."""

import contextlib
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from lstm_jax.cells.arguments import as_state
from lstm_jax.cells.lstm import float_dtype, lstm_step
from lstm_jax.containers import in_containers_of
from lstm_jax.transforms.step_function import StepFunction
from lstm_jax.transforms.transform import AnyCell, initial_state
from lstm_jax.types import LSTMState, Policy, PyTree, in_float


def own_state(
    cell: AnyCell, params: PyTree, state: PyTree, batch_shape: Sequence[int] = ()
) -> PyTree:
    """A state in the containers of the cell's own, with integers in the dtypes of that.

    Args:
      cell: any cell.
      params: its parameters, as its initial state may depend on them; or None.
      state: tuples, lists, mappings of field names or NamedTuples, in any nesting; a bare array
        where a state has one field.
      batch_shape: the batch axes of the state.

    Returns:
      The arrays of `state`: integers and booleans in the dtype of the cell's own initial state,
      others in their own. What does not fit is as it was given, for the step to refuse.

    >>> import lstm_jax as lj
    >>> own_state(lj.GRU(3, 2), None, jnp.array([1, 0]))
    GRUState(h=Array([1., 0.], dtype=float32))
    >>> deep = own_state(lj.stack(lj.GRU(3, 2), lj.LSTM(2, 2)), None, [jnp.ones(2), (0, 0)])
    >>> jax.tree.map(jnp.shape, deep)
    (GRUState(h=(2,)), LSTMState(h=(), c=()))
    """
    if isinstance(cell, StepFunction):
        if cell.function is not lstm_step:  # its own state is what it is given
            return state
        policy = Policy(float_dtype(getattr(params, "kernel", None)))
        return as_state("lstm_step", LSTMState, state, policy)
    state = in_containers_of(_own_containers(cell), state)
    leaves, structure = jax.tree.flatten(state)
    if all(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves):
        return state
    of_cell = functools.partial(initial_state, cell, batch_shape=tuple(batch_shape))
    own = jax.tree.leaves(jax.eval_shape(of_cell, params))
    if len(own) != len(leaves):
        return state
    pairs = zip(leaves, own, strict=True)
    return structure.unflatten([in_float(leaf, like.dtype) for leaf, like in pairs])


def _own_containers(cell: AnyCell) -> PyTree:
    """The containers of a cell's state, with shapes in them; computed once for equal cells."""
    if getattr(vars(type(cell)).get("__dataclass_params__"), "frozen", False):
        with contextlib.suppress(TypeError):  # not hashable
            return _own_containers_cached(cell)
    return jax.eval_shape(functools.partial(initial_state, cell, None, ()))


@functools.lru_cache
def _own_containers_cached(cell: AnyCell) -> PyTree:
    return jax.eval_shape(functools.partial(initial_state, cell, None, ()))
