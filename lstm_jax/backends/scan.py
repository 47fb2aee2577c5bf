"""The plain scan over time: the reference that every other backend is tested against.

It supports every cell and every option: resets before a step, the cell, masks after it.
"""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lstm_jax.backends.chunks import scan_chunks
from lstm_jax.backends.request import Request, Result
from lstm_jax.backends.traced import Program, trace
from lstm_jax.backends.value_semantics import has_value_semantics
from lstm_jax.masks import where_rows, zero_masked
from lstm_jax.options import Options, Remat
from lstm_jax.resets import reset_state
from lstm_jax.sharding import match_types
from lstm_jax.transforms.step_rng import StepRng
from lstm_jax.transforms.transform import apply
from lstm_jax.types import PRNGKey, PyTree

Emit = Callable[[PyTree, PyTree, PyTree, PyTree, PyTree, StepRng | None], tuple[PyTree, PyTree]]
"""What is stacked at every step: ``(params, s_{t-1}, x_t, s_t, y_t, rng) -> (padded, exact)``;
padding applies to the first alone."""


class Consts(NamedTuple):
    """What is the same at every step.

    Attributes:
      params: the cell's parameters.
      initial: the state that resets return to, or None.
      key: typed random key, or None.
    """

    params: PyTree
    initial: PyTree
    key: PRNGKey | None


class Xs(NamedTuple):
    """What differs from step to step, each with leaves ``[T, ...]``, or None.

    Attributes:
      x: the cell's inputs.
      valid: true in rows where the step is valid.
      reset: true in rows that are reset before the step.
      t: index of the step.
    """

    x: PyTree
    valid: jax.Array | None
    reset: jax.Array | None
    t: jax.Array | None


@dataclass(frozen=True)
class Body:
    """One step of the scan: ``(consts, s_{t-1}, xs_t) -> (s_t, (padded, exact))``.

    A masked step keeps the state, and resets of masked steps do nothing. Inputs of masked steps are
    replaced by zeros before the cell reads them: to keep the state is not enough, as NaN in an
    input would still reach the gradients.

    Args:
      function: the public function to name in errors.
      cell: any cell.
      emit: what to stack.
      zero_padding: whether outputs at masked steps are zero.
      masked_inputs_are_safe: whether inputs of masked steps are safe already; do not zero them.
    """

    function: str
    cell: Any
    emit: Emit
    zero_padding: bool
    masked_inputs_are_safe: bool

    def __call__(
        self, consts: Consts, state_tm1: PyTree, xs: Xs
    ) -> tuple[PyTree, tuple[PyTree, PyTree]]:
        """Advance one time step."""
        params, initial, key = consts
        x_t, valid, reset, t = xs
        if reset is not None:
            state_tm1 = reset_state(reset, valid, initial, state_tm1)
        if valid is not None and not self.masked_inputs_are_safe:
            x_t = zero_masked(valid, x_t)
        rng = None if key is None or t is None else StepRng(key, t)
        state_t, y_t = apply(self.cell, params, state_tm1, x_t, rng)
        check_state(self.function, state_tm1, state_t)
        if valid is not None:
            state_t = where_rows(valid, state_t, state_tm1)
        padded, exact = self.emit(params, state_tm1, x_t, state_t, y_t, rng)
        if valid is not None and self.zero_padding:
            padded = zero_masked(valid, padded)
        return state_t, (padded, exact)


def emit_output(
    params: Any, state_tm1: Any, x_t: Any, state_t: Any, y_t: Any, rng: Any
) -> tuple[PyTree, None]:
    """Stack the output."""
    del params, state_tm1, x_t, state_t, rng
    return y_t, None


def emit_output_and_state(
    params: Any, state_tm1: Any, x_t: Any, state_t: Any, y_t: Any, rng: Any
) -> tuple[PyTree, PyTree]:
    """Stack the output and the state."""
    del params, state_tm1, x_t, rng
    return y_t, state_t


OPTIONS = frozenset(field.name for field in dataclasses.fields(Options))  # all of them


def unsupported_cell_reason(cell: Any) -> None:
    """None: it runs any cell."""
    del cell


def unsupported_reason(request: Request) -> None:
    """None: it supports every request."""
    del request


def not_preferred_reason() -> None:
    """None: it runs whatever no other backend does."""


def compute(request: Request) -> Result:
    """Unroll any cell step by step."""
    emit = emit_output_and_state if request.return_states else emit_output
    final, (outputs, states) = scan_request(request, emit)
    if request.options.padding == "hold":
        outputs = request.hold(outputs)
    return final, outputs, states


def scan_request(request: Request, emit: Emit) -> tuple[PyTree, tuple[PyTree, PyTree]]:
    """Unroll any cell step by step: ``(final state, stacked)``.

    Args:
      request: the request.
      emit: what to stack of every step.

    Returns:
      The state after the last step, and what `emit` returns with leaves ``[T, ...]``.
    """
    zero_padding = request.options.padding != "raw"
    body = Body(request.function, request.cell, emit, zero_padding, request.masked_inputs_are_safe)
    state = checked_state(request) if request.on_mesh else request.state
    initial = None if request.reset is None else request.reset_target(state)
    consts = Consts(request.params, initial, request.key)
    xs = Xs(request.xs, request.valid, request.reset, request.times)
    scan = scan_steps_compiled if has_value_semantics(request.cell) else scan_steps_traced
    options = request.options
    return scan(body, consts, xs, state, request.reverse, options.unroll, options.remat)


def scan_steps(
    body: Callable[[Any, PyTree, Any], tuple[PyTree, PyTree]],
    consts: PyTree,
    xs: PyTree,
    state: PyTree,
    reverse: bool = False,
    unroll: int = 1,
    remat: Remat = None,
) -> tuple[PyTree, PyTree]:
    """`lax.scan` of a step with constants: ``s_t, y_t = body(consts, s_{t-1}, x_t)``.

    Low-precision constants are kept in float32 outside of the loop and cast inside of it, so that
    their gradients are summed over time in float32.

    Args:
      body: one time step.
      consts: what is the same at every step, such as parameters.
      xs: inputs, leaves ``[T, ...]``.
      state: the state before the first step.
      reverse: from the last step to the first; ``y_t`` stays in the order of the inputs.
      unroll: steps per iteration of the compiled loop.
      remat: what is kept for a gradient, see `lstm_jax.options.Options`.

    Returns:
      ``(final state, ys)``: the state in the structure that `body` returns, ys with leaves
      ``[T, ...]``.

    Reference:
      Werbos (1990), *Backpropagation through time: what it does and how to do it*, which is the
      gradient of this loop; Chen et al. (2016), *Training deep nets with sublinear memory cost*
      (chunks of sqrt(T)).

    >>> add = lambda consts, state, x: (state + x, state + x)
    >>> final, ys = scan_steps(add, None, jnp.arange(4), 0)
    >>> ys.tolist()
    [0, 1, 3, 6]
    """
    leaves, structure = jax.tree.flatten(state)
    # A plain tuple may be the initial state of a step that returns a NamedTuple.
    returned = [structure]
    wide = in_float32(consts)

    def step(leaves: list[Any], x_t: Any) -> tuple[list[Any], PyTree]:
        new, y_t = body(in_dtypes_of(consts, wide), jax.tree.unflatten(structure, leaves), x_t)
        leaves, returned[0] = jax.tree.flatten(new)
        return leaves, y_t

    length = jax.tree.leaves(xs)[0].shape[0]
    if isinstance(remat, int) and not isinstance(length, int):
        remat = "step"
    loop = functools.partial(lax.scan, reverse=reverse, unroll=unroll)
    match remat if length else None:
        case None:
            leaves, ys = loop(step, leaves, xs)
        case "step":
            # Nothing outside of the loop can be merged with what is inside: no need to prevent it.
            leaves, ys = loop(jax.checkpoint(step, prevent_cse=False), leaves, xs)
        case size:
            chunk = functools.partial(loop, step)
            leaves, ys = scan_chunks(chunk, leaves, xs, size, reverse=reverse)
    return jax.tree.unflatten(returned[0], leaves), ys


# Outside of `jit`, `scan_steps` would be traced and compiled again at every call. Compiled for a
# body with value semantics it serves equal bodies. It is not inlined: JAX 0.10 would then compile
# the backward pass again.
scan_steps_compiled = jax.jit(scan_steps, static_argnums=(0, 4, 5, 6))


def scan_steps_traced(
    body: Callable[[Any, PyTree, Any], tuple[PyTree, PyTree]],
    consts: PyTree,
    xs: PyTree,
    state: PyTree,
    reverse: bool = False,
    unroll: int = 1,
    remat: Remat = None,
) -> tuple[PyTree, PyTree]:
    """`scan_steps` of a body that may change: traced at every call, compiled for equal programs.

    Args:
      body, consts, xs, state, reverse, unroll, remat: as in `scan_steps`.

    Returns:
      As `scan_steps`.

    >>> scale = 2.0
    >>> twice = lambda consts, state, x: (scale * state + x, None)
    >>> scan_steps_traced(twice, None, jnp.ones(3), jnp.zeros(()))[0].tolist()
    7.0
    >>> scale = 1.0
    >>> scan_steps_traced(twice, None, jnp.ones(3), jnp.zeros(()))[0].tolist()
    3.0
    """
    if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
        return scan_steps(body, consts, xs, state, reverse, unroll, remat)
    leaves, structure = jax.tree.flatten(consts)
    traceable = [hasattr(leaf, "dtype") for leaf in leaves]
    others = [leaf for leaf, an_array in zip(leaves, traceable, strict=True) if not an_array]
    arrays = [leaf for leaf, an_array in zip(leaves, traceable, strict=True) if an_array]

    def of_arrays(arrays: list[Any], state: PyTree, x: PyTree) -> tuple[PyTree, PyTree]:
        values, constants = iter(arrays), iter(others)
        leaves = [next(values if an_array else constants) for an_array in traceable]
        return body(jax.tree.unflatten(structure, leaves), state, x)

    x_1 = jax.eval_shape(_first, xs)
    program, closed_over = trace(of_arrays, arrays, state, x_1)
    return _compiled(program, reverse, unroll, remat)((closed_over, arrays), xs, state)


@functools.lru_cache(maxsize=32)  # bounded: a body with other numbers is another program
def _compiled(program: Program, reverse: bool, unroll: int, remat: Remat) -> Callable[..., Any]:
    """`scan_steps` of a program, compiled. What is compiled is freed with the function."""

    def run(consts: tuple[Any, Any], xs: PyTree, state: PyTree) -> tuple[PyTree, PyTree]:
        body = lambda consts, state, x: program(*consts, state, x)  # noqa: E731
        return scan_steps(body, consts, xs, state, reverse, unroll, remat)

    return jax.jit(run)


def _first(xs: PyTree) -> PyTree:
    """The types of one step's inputs; also where there are no steps."""
    return jax.tree.map(lambda xs: xs[0] if len(xs) else jnp.zeros(xs.shape[1:], xs.dtype), xs)


def checked_state(request: Request) -> PyTree:
    """The state before the first step as a step returns it: in its structure, sharded likewise.

    Raises:
      TypeError, ValueError: as the cell's step, or when that changes the state's shapes or dtypes.
    """
    key, times = request.key, request.times

    def step(params: PyTree, state: PyTree, xs: PyTree) -> PyTree:
        x_1 = _first(xs)
        rng = None if key is None or times is None else StepRng(key, jnp.asarray(0, times.dtype))
        return apply(request.cell, params, state, x_1, rng)[0]

    new = jax.eval_shape(step, request.params, request.state, request.xs)
    check_state(request.function, request.state, new)
    return match_types(request.state, new)


def in_float32(tree: PyTree) -> PyTree:
    """A tree with its low-precision arrays in float32.

    >>> in_float32([jnp.zeros(2, jnp.bfloat16), jnp.zeros(2, int)])[0].dtype
    dtype('float32')
    """
    leaves, structure = jax.tree.flatten(tree)
    wide = [
        leaf.astype(jnp.float32) if getattr(leaf, "dtype", None) in _LOW else leaf
        for leaf in leaves
    ]
    return jax.tree.unflatten(structure, wide)


def in_dtypes_of(tree: PyTree, wide: PyTree) -> PyTree:
    """The inverse of `in_float32`: `wide` in the dtypes of `tree`."""
    leaves, structure = jax.tree.flatten(tree)
    pairs = zip(leaves, jax.tree.leaves(wide), strict=True)
    narrow = [
        w.astype(leaf.dtype) if getattr(leaf, "dtype", None) in _LOW else w for leaf, w in pairs
    ]
    return jax.tree.unflatten(structure, narrow)


_LOW = (jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float16))


def check_state(function: str, state_tm1: PyTree, state_t: PyTree) -> None:
    """Raise unless a step returns a state of the shapes and dtypes of the one before it."""
    old_leaves, new_leaves = jax.tree.leaves(state_tm1), jax.tree.leaves(state_t)
    if len(old_leaves) != len(new_leaves):
        raise TypeError(
            f"{function}: the step must return a state like the one it was given,"
            f" with {len(old_leaves)} arrays; got {len(new_leaves)}"
        )
    for old, new in zip(old_leaves, new_leaves, strict=True):
        if jnp.shape(old) != jnp.shape(new):
            raise ValueError(
                f"{function}: state must have the batch axes of xs; a state of shape"
                f" {jnp.shape(old)} came out of the step with shape {jnp.shape(new)}"
            )
        if jnp.result_type(old) != jnp.result_type(new):
            raise TypeError(
                f"{function}: the step must keep the dtypes of the state; {jnp.result_type(old)}"
                f" became {jnp.result_type(new)}"
            )
