"""One step of any cell, for streams."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lstm_jax.arrays import check_arrays
from lstm_jax.inputs import checked_inputs
from lstm_jax.transforms.own_structure import own_params, own_state
from lstm_jax.transforms.step_rng import StepRng, check_key
from lstm_jax.transforms.transform import apply, batch_shape, initial_state, sample_params
from lstm_jax.transforms.wrap import check_is_cell
from lstm_jax.types import Cell, P, PRNGKey, PyTree, S


def advance(
    cell: Cell[P, S],
    params: P,
    state: S | None,
    x: PyTree,
    *,
    key: PRNGKey | None = None,
    start: int | Int[Array, ""] = 0,
) -> tuple[S, Float[Array, "... H"]]:
    """Advance any cell one time step: `unroll` of one step, for streams.

    Args:
      cell: any cell that goes step by step.
      params: the cell's parameters.
      state: ``s_{t-1}``, or None before the first step: the cell's own initial state.
      x: input ``x_t`` ``[..., I]``.
      key: typed random key, for cells that draw random numbers.
      start: index of the step, as in `unroll`.

    Returns:
      ``(s_t, y_t)``, the new state and the output.

    Raises:
      TypeError: when `cell` is not a cell or has no single step, `x` is a list or another tree for
        a cell that reads one array, an array is one of another library, or `key` is not a typed
        key; otherwise, and ValueError, as the cell's step.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*.

    >>> import jax
    >>> import lstm_jax as lj
    >>> cell = lj.stack(lj.LSTM(3, 5), lj.LSTM(5, 4))
    >>> params = cell.init(jax.random.key(0))
    >>> state, y = advance(cell, params, None, jnp.ones((2, 3)))
    >>> y.shape
    (2, 4)
    """
    check_is_cell("advance", cell)
    check_key("advance", key)
    x = checked_inputs("advance", cell, x, name="x")
    params, state = check_arrays("advance", others=("params",), params=params, state=state)
    params = own_params("advance", cell, params)
    params = sample_params(cell, params, key)
    if state is None:
        state = initial_state(cell, params, batch_shape(cell, x))
    else:
        state = own_state(cell, params, state)
    rng = None if key is None else StepRng(key, jnp.asarray(start, jnp.int32))
    return apply(cell, params, state, x, rng)
