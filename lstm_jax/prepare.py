"""What a run is asked for, checked, and made into one."""

import dataclasses
import operator
from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.backends import IMPLEMENTATIONS, PADDINGS
from lstm_jax.backends.checks import first_input
from lstm_jax.engine import Run
from lstm_jax.masks import check_reset, valid_steps
from lstm_jax.sharding import match_sharding
from lstm_jax.steps import BareStep, as_cell
from lstm_jax.transforms.step_rng import check_key
from lstm_jax.transforms.transform import batch_shape, initial_state, sample_params
from lstm_jax.types import PRNGKey, PyTree


def prepare(
    function: str,
    cell: Any,
    params: PyTree,
    xs: PyTree,
    state: PyTree = None,
    *,
    lengths: Any = None,
    mask: Any = None,
    reset: Any = None,
    key: PRNGKey | None = None,
    start_time: Any = 0,
    **settings: Any,
) -> tuple[Run, Any, PyTree, PyTree]:
    """Check a cell against its inputs, and give what it takes to run it over them.

    Args:
      function: the public function to name in errors.
      cell: a cell or a bare step function.
      params: the cell's parameters.
      xs: inputs, leaves ``[T, ...]``.
      state: state before the first step, or None for the cell's own.
      lengths: steps of every row, or None.
      mask: which steps are there, or None.
      reset: where rows start anew, or None.
      key: what random numbers are drawn from, or None.
      start_time: index of the first step.
      **settings: further fields of `Run`.

    Returns:
      ``(run, cell, params, state)`` to be called as ``run(cell, params, xs, state, key)``: the
      parameters are bound to the sequence.

    Raises:
      TypeError, ValueError: as `unroll`.

    >>> from lstm_jax import lstm_init, lstm_step
    >>> params = lstm_init(jax.random.key(0), 3, 5)
    >>> xs, state = jnp.ones((7, 3)), (jnp.zeros(5), jnp.zeros(5))
    >>> run, cell, params, state = prepare("unroll", lstm_step, params, xs, state)
    >>> run(cell, params, xs, state, None)[1].shape
    (7, 5)
    """
    x_1 = first_input(function, xs)
    T = jax.tree.leaves(xs)[0].shape[0]
    cell = as_cell(function, cell, params, anew=reset is not None or state is None)
    rows = None if isinstance(cell, BareStep) else batch_shape(cell, x_1)
    if rows is None and state is None:
        raise TypeError(f"{function}: a bare step function needs `state`; got None")
    check_key(function, key)
    first = jnp.asarray(start_time)
    if first.ndim or not jnp.issubdtype(first.dtype, jnp.integer):
        raise TypeError(f"{function}: start must be an integer; got {start_time!r}")
    valid = valid_steps(function, T, rows, lengths, mask)
    reset = check_reset(function, T, rows, reset)
    if valid is not None and reset is not None and valid.shape != reset.shape:
        raise ValueError(
            f"{function}: reset must have the shape of the mask, {valid.shape}; got {reset.shape}"
        )
    if T:
        like = jax.typeof(jax.tree.leaves(xs)[0])
        valid, reset = (
            None if given is None else match_sharding(given, like) for given in (valid, reset)
        )
    times = first.astype(jnp.int32) + jnp.arange(T, dtype=jnp.int32)
    run = _checked(Run(function, times, valid, reset, **settings))
    bound = sample_params(cell, params, key)
    if isinstance(cell, BareStep):
        cell = dataclasses.replace(cell, own=state)
    elif state is None and rows is not None:
        like, axes = jax.tree.leaves(x_1)[0], len(rows)
        state = jax.tree.map(
            lambda leaf: match_sharding(leaf, like, axes), initial_state(cell, bound, rows)
        )
    return run, cell, bound, state


def _checked(run: Run) -> Run:
    """The run with its numbers as Python's, once every option has a value that it can have."""
    function, remat = run.function, run.remat
    try:
        unroll = operator.index(run.unroll)
    except TypeError:
        raise TypeError(f"{function}: unroll must be an integer; got {run.unroll!r}") from None
    if unroll < 1:
        raise ValueError(f"{function}: unroll must be at least 1; got {run.unroll}")
    if run.padding not in PADDINGS:
        raise ValueError(f"{function}: padding must be one of {PADDINGS}; got {run.padding!r}")
    if run.implementation is not None and run.implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"{function}: implementation must be None or one of {IMPLEMENTATIONS}; got"
            f" {run.implementation!r}"
        )
    if not (remat is None or isinstance(remat, str | bool)):
        with suppress(TypeError):
            remat = operator.index(remat)
    steps = isinstance(remat, int) and not isinstance(remat, bool) and remat >= 1
    if not (remat is None or remat == "step" or steps):
        raise ValueError(
            f'{function}: remat must be None, "step" or a number of steps of at least 1; got'
            f" {remat!r}"
        )
    return dataclasses.replace(run, unroll=unroll, remat=remat)
