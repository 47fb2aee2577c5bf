"""The one door through which a cell is run over a sequence."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jaxtyping import Array, Float

from lstm_jax import kernels
from lstm_jax.types import Cell, P, PyTree, S, Step


def unroll(
    cell: Cell[P, S] | Step[P, S],
    params: P,
    xs: PyTree,
    state: S | None = None,
    *,
    reverse: bool = False,
    unroll: int = 1,
) -> tuple[S, Float[Array, "T ... H"]]:
    """Run a cell over a sequence: ``s_t = step(params, s_{t-1}, x_t)`` for ``t = 1 .. T``.

    Outside of `jit`, equal cells share one compilation, while a bare step function is compiled
    anew at every call, as what it closes over may have changed: `jit` the call.

    Args:
      cell: a cell, or a bare step function ``(params, state, x) -> state``.
      params: the cell's parameters.
      xs: inputs ``[T, ..., I]``; for cells that take one, a pytree with leaves ``[T, ...]``.
      state: state before the first step, with the batch axes of `xs`; a cell's own initial state
        when not given. A bare step function needs one. A plain ``(h, c)`` works.
      reverse: run from the last step to the first. Outputs stay in the order of the inputs, and
        the final state is the one after step 1.
      unroll: steps per iteration of the compiled loop; changes speed, never values.

    Returns:
      ``(final, outputs)``: the state after the last step run, and the first field of every state
      (``h``) stacked, ``[T, ..., H]``.

    Raises:
      TypeError: when `cell` is neither a cell nor a function, `state` is missing for a bare step
        function, or the step changes the structure or a dtype of the state.
      ValueError: when `xs` has no time axis, its leaves differ in length, `unroll` is below 1, or
        the step changes the shape of the state.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*.

    >>> from lstm_jax import LSTM
    >>> cell = LSTM(input_size=3, hidden_size=5)
    >>> params = cell.init(jax.random.key(0))
    >>> final, outputs = unroll(cell, params, jnp.ones((7, 2, 3)))
    >>> outputs.shape, bool(jnp.array_equal(outputs[-1], final.h))
    ((7, 2, 5), True)
    """
    if unroll < 1:
        raise ValueError(f"unroll: unroll must be at least 1; got {unroll}")
    step, state, scan = prepare(cell, params, xs, state)
    return scan(step, params, xs, state, emit=first_field, reverse=reverse, unroll=unroll)


def prepare(
    cell: Cell[P, S] | Step[P, S], params: P, xs: PyTree, state: S | None, name: str = "unroll"
) -> tuple[Step[P, S], S, Callable[..., Any]]:
    """Check a cell against its inputs, and give what it takes to run it over them.

    Args:
      cell: a cell or a bare step function.
      params: the cell's parameters.
      xs: inputs, leaves ``[T, ...]``.
      state: state before the first step, or None for the cell's own.
      name: the public function to name in errors.

    Returns:
      ``(step, state, scan)``: a step that equals that of an equal cell, a state of the structure
      that the step returns, and the scan of `lstm_jax.kernels` to run them with.

    Raises:
      TypeError, ValueError: as `unroll`.

    >>> from lstm_jax import lstm_init, lstm_step
    >>> params = lstm_init(jax.random.key(0), 3, 5)
    >>> _, state, _ = prepare(lstm_step, params, jnp.ones((7, 3)), (jnp.zeros(5), jnp.zeros(5)))
    >>> type(state).__name__
    'LSTMState'
    """
    x_1 = _first_input(xs, name)
    if isinstance(cell, type):
        raise TypeError(
            f"{name}: cell must be a cell, not its class; write {cell.__name__}(...) with its sizes"
        )
    scan = kernels.scan
    # JAX caches traces by function: the partials are new at every call, so that what a function
    # closes over, or a cell that is no value holds, may change between two calls.
    if isinstance(cell, Cell):
        if _is_value(cell):
            step, scan = _StepOf(cell), kernels.compiled_scan
        else:
            step = functools.partial(cell.step)
        if state is None:
            state = cell.initial_state(jax.tree.leaves(x_1)[0].shape[:-1])
    elif callable(cell):
        step = functools.partial(cell)
        if state is None:
            raise TypeError(f"{name}: a bare step function needs `state`; got None")
    else:
        raise TypeError(
            f"{name}: cell must be a cell or a step function (params, state, x) -> state;"
            f" got {type(cell).__name__}"
        )
    return step, _as_carry(step, params, state, x_1, name), scan


@dataclass(frozen=True)
class _StepOf(Generic[P, S]):
    """The step of a cell as a value: a bound method equals only one of the very same object."""

    cell: Cell[P, S]

    def __call__(self, params: P, state: S, x: Any, /) -> S:
        return self.cell.step(params, state, x)


def _is_value(cell: Any) -> bool:
    """Whether a cell is a frozen dataclass and hashable, so that an equal one does the same."""
    # Not by `getattr`: a subclass that is no dataclass itself can be given further attributes.
    if not getattr(vars(type(cell)).get("__dataclass_params__"), "frozen", False):
        return False
    try:
        hash(cell)
    except TypeError:
        return False
    return True


def _first_input(xs: PyTree, name: str) -> PyTree:
    """Types of one time step of `xs`: shape, dtype, and how it is split over devices."""
    leaves = jax.tree.leaves(xs)
    if not leaves:
        raise ValueError(f"{name}: xs must hold at least one array [T, ...]; got {xs!r}")
    shapes = [jnp.shape(leaf) for leaf in leaves]
    if any(len(shape) == 0 for shape in shapes):
        raise ValueError(f"{name}: xs must have time as axis 0, [T, ...]; got shapes {shapes}")
    if len({shape[0] for shape in shapes}) > 1:
        raise ValueError(f"{name}: the arrays in xs differ in length T; got shapes {shapes}")
    if shapes[0][0] == 0:
        # There is no step to take the types from; nothing runs that could be split.
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], jnp.result_type(leaf)), xs
        )
    return jax.eval_shape(lambda xs: jax.tree.map(lambda leaf: leaf[0], xs), xs)


def _as_carry(step: Step[P, S], params: P, state: S, x_1: PyTree, name: str) -> S:
    """The given state in the structure that the step returns, so that it can be a scan's carry."""
    state = jax.tree.map(jnp.asarray, state)
    new = jax.eval_shape(step, params, state, x_1)
    old_leaves, new_leaves = jax.tree.leaves(state), jax.tree.leaves(new)
    if len(old_leaves) != len(new_leaves):
        raise TypeError(
            f"{name}: the step must return a state like the one it was given,"
            f" with {len(old_leaves)} arrays; got {len(new_leaves)}"
        )
    for old, after in zip(old_leaves, new_leaves, strict=True):
        if old.shape != after.shape:
            raise ValueError(
                f"{name}: state must have the batch axes of xs; a state of shape {old.shape}"
                f" came out of the step with shape {after.shape}"
            )
        if old.dtype != after.dtype:
            raise TypeError(
                f"{name}: the step must keep the dtypes of the state; {old.dtype} became"
                f" {after.dtype}"
            )
    leaves = map(_split_like, old_leaves, new_leaves)
    return jax.tree.unflatten(jax.tree.structure(new), leaves)


def _split_like(array: jax.Array, after: jax.ShapeDtypeStruct) -> jax.Array:
    """The array split over devices as the step's result is, where JAX makes that part of its type.

    A state of zeros is whole on every device, and a batch that is split makes it split too; a
    scan wants its carry to start as it goes on.
    """
    before = jax.typeof(array)
    # Inside of `shard_map`, an array varies over axes of the mesh, or is the same along them.
    varying, had = (
        getattr(getattr(each, "manual_axis_type", None), "varying", frozenset())
        for each in (after, before)
    )
    if varying - had:
        return jax.lax.pcast(array, tuple(varying - had), to="varying")
    # On a mesh with explicit axes, the partition is part of the type.
    wanted = after.sharding
    if isinstance(wanted, NamedSharding) and wanted.mesh.are_all_axes_explicit:
        return jax.sharding.reshard(array, wanted) if wanted != before.sharding else array
    return array


def first_field(params: Any, state_tm1: Any, x_t: Any, state_t: Any) -> Any:
    """What a layer shows of a step: the first field of its state.

    >>> first_field(None, (0, 1), None, (2, 3))
    2
    """
    del params, state_tm1, x_t
    return state_t[0]
