"""Parameters and states as the cell's own, from what callers and files have."""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.cells.arguments import as_params, as_state
from lstm_jax.cells.lstm import float_dtype, lstm_step
from lstm_jax.containers import in_containers_of, is_array
from lstm_jax.param_dict import flatten, from_dict, to_dict
from lstm_jax.transforms.sizes import param_shapes
from lstm_jax.transforms.step_function import StepFunction
from lstm_jax.transforms.transform import AnyCell, Transform, initial_state
from lstm_jax.transforms.wrap import check_is_cell
from lstm_jax.types import LSTMParams, LSTMState, Policy, PyTree, in_float

_LIBRARY = f"{__name__.partition('.')[0]}."


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
    state = in_containers_of(_once_for_equal(_own_containers, cell), state)
    leaves, structure = jax.tree.flatten(state)
    if all(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves):
        return state
    of_cell = functools.partial(initial_state, cell, batch_shape=tuple(batch_shape))
    own = jax.tree.leaves(jax.eval_shape(of_cell, params))
    if len(own) != len(leaves):
        return state
    pairs = zip(leaves, own, strict=True)
    return structure.unflatten([in_float(leaf, like.dtype) for leaf, like in pairs])


def own_params(function: str, cell: AnyCell, params: PyTree) -> PyTree:
    """Parameters in the containers of a cell, where they are in mappings, lists or plain tuples.

    Args:
      function: the public function to name in errors.
      cell: any cell, or a bare step function as one.
      params: as the cell's `init` draws them; or as files give them back, see `restore_params`.

    Returns:
      The arrays of `params`; `params` itself where they are in the cell's containers.

    Raises:
      ValueError: when there are other parameters than those of the cell.

    >>> import lstm_jax as lj
    >>> own_params("unroll", lj.MinLSTM(3, 2), {"kernal": 0, "bias": 0})
    Traceback (most recent call last):
    ValueError: unroll: params must have kernel, as drawn by `init`; got kernal
    """
    if not _has_plain_containers(params):
        return params
    if isinstance(cell, StepFunction):
        return as_params(LSTMParams, params) if cell.function is lstm_step else params
    own = _once_for_equal(param_shapes, cell)
    wanted = jax.tree.structure(own)
    if jax.tree.structure(params) == wanted:
        return params
    arranged = in_containers_of(own, params)
    if jax.tree.structure(arranged) != wanted:
        names, got = ([*dict(flatten(to_dict(tree)))] for tree in (own, params))
        missing = [name for name in names if name not in got] or names
        others = [name for name in got if name not in names] or got
        hint = (
            "; pass params['params']" if isinstance(params, Mapping) and "params" in params else ""
        )
        raise ValueError(
            f"{function}: params must have {', '.join(missing)}, as drawn by `init`; got"
            f" {', '.join(others) or 'none'}{hint}"
        )
    return jax.tree.map(jnp.asarray, arranged)


def restore_params(cell: AnyCell, restored: PyTree) -> PyTree:
    """The parameters of a cell from plain containers, as files give them back.

    Orbax without a template, msgpack and JSON give mappings with field names, and lists or mappings
    (``"0"``, ``"layers_0"``) for the layers of a stack. `unroll`, `advance` and the steps of cells
    take these as well, and return gradients in the same containers; an optimizer that was
    initialized with the cell's own parameters needs them back as they were.

    Args:
      cell: the cell that the parameters are for.
      restored: its parameters: NamedTuples, mappings, tuples or lists, in any nesting.

    Returns:
      Parameters in the containers of ``cell.init``, with the dtypes of `restored`.

    Raises:
      TypeError: when `cell` is not a cell.
      ValueError: when a parameter is missing, unexpected, or of another shape.

    >>> import lstm_jax as lj
    >>> cell = lj.stack(lj.LSTM(3, 5), lj.GRU(5, 4))
    >>> params = cell.init(jax.random.key(0))
    >>> restored = [p._asdict() for p in params]
    >>> jax.tree.structure(restore_params(cell, restored)) == jax.tree.structure(params)
    True
    """
    check_is_cell("restore_params", cell)
    own = param_shapes(cell)
    named = to_dict(own_params("restore_params", cell, restored))
    return jax.tree.map(jnp.asarray, from_dict("restore_params", own, named))


def _has_plain_containers(params: PyTree) -> bool:
    """Whether something in parameters is a mapping, a list, or a plain tuple of arrays."""
    values = [params]
    while values:
        value = values.pop()
        if isinstance(value, Mapping | list):
            return True
        if isinstance(value, tuple):
            if not hasattr(value, "_fields") and any(map(is_array, value)):
                return True
            values.extend(value)
    return False


def _own_containers(cell: AnyCell) -> PyTree:
    """The containers of a cell's state, with shapes in them."""
    return jax.eval_shape(functools.partial(initial_state, cell, None, ()))


def _once_for_equal(function: Callable[[Any], PyTree], cell: AnyCell) -> PyTree:
    """A function of a cell, computed once for equal ones of this library: these cannot change.

    A cell from elsewhere may equal others that differ, in a field that is not compared.
    """
    return _cached(function, cell) if _is_of_library(cell) else function(cell)


def _is_of_library(cell: Any) -> bool:
    """Whether a cell, and each cell inside of it, is of a class of this library and hashes."""
    if not type(cell).__module__.startswith(_LIBRARY):
        return False
    with contextlib.suppress(TypeError):
        hash(cell)
        return all(map(_is_of_library, cell.children())) if isinstance(cell, Transform) else True
    return False


@functools.lru_cache
def _cached(function: Callable[[Any], PyTree], cell: AnyCell) -> PyTree:
    return function(cell)
