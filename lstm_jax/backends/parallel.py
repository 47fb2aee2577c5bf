"""All steps at once, for cells that are linear in their state: an associative scan over time."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lstm_jax.backends.body import Carry, Inputs, Operands, Padding
from lstm_jax.backends.problem import Problem, platform
from lstm_jax.masks import where_rows, zero_elsewhere
from lstm_jax.transforms.transform import LinearCell
from lstm_jax.types import PyTree, promote_dtypes


def unsupported_cell_reason(cell: Any) -> str | None:
    """Why it never runs a cell, or None."""
    if not isinstance(cell, LinearCell):
        return f"it runs cells that are linear in their state; the cell is a {type(cell).__name__}"
    return None


def unsupported_reason(problem: Problem) -> str | None:
    """Why a problem is not one for a parallel scan, or None."""
    if problem.remat is not None:
        return "it keeps all states; remat asks for fewer"
    if not isinstance(jax.tree.leaves(problem.inputs.x)[0].shape[0], int):
        return "the number of steps must be a number; it is a symbol"
    return unsupported_cell_reason(problem.cell)


def not_preferred_reason() -> str | None:
    """Why it should not be taken unless asked for, or None."""
    # About log T passes over memory.
    return "measured slower than the loop on a processor" if platform() == "cpu" else None


def solve(problem: Problem) -> tuple[PyTree, PyTree, PyTree]:
    """Run a linear cell by an associative scan."""
    xs, valid = problem.inputs.x, problem.inputs.valid
    if valid is not None and not problem.safe_inputs:
        xs = zero_elsewhere(valid, xs)
    return parallel(
        problem.cell,
        problem.operands,
        problem.inputs._replace(x=xs),
        problem.carry,
        padding=problem.padding,
        reverse=problem.reverse,
    )


def parallel(
    cell: LinearCell,
    operands: Operands,
    inputs: Inputs,
    carry: Carry,
    *,
    padding: Padding,
    reverse: bool = False,
) -> tuple[PyTree, jax.Array, PyTree]:
    """Solve ``h_t = a_t * h_{t-1} + b_t`` for all ``t`` in about ``log T`` passes.

    Two steps in a row are one step of the same form, ``(a_2 a_1, a_2 b_1 + b_2)``, so the steps
    can be joined in any order. A masked step is ``(1, 0)``; a reset one is ``(0, a h_0 + b)``.

    Args:
      cell: a cell with `coefficients`, and a state of one field ``h [..., H]``.
      operands: parameters, and the state that resets return to.
      inputs: inputs, masks and resets, ``[T, ...]``; no NaN at masked steps.
      carry: state before the first step.
      padding: what to show at masked steps.
      reverse: run from the last step to the first.

    Returns:
      ``(final, outputs, states)``: the last with leaves ``[T, ...]``.

    Reference:
      Blelloch (1990), *Prefix sums and their applications*; Martin & Cundy (2018), *Parallelizing
      linear recurrent neural nets over sequence length*.

    >>> from lstm_jax import MinLSTM
    >>> cell = MinLSTM(3, 5)
    >>> operands = Operands(cell.init(jax.random.key(0)), initial=None, key=None)
    >>> inputs = Inputs(jnp.ones((7, 2, 3)), valid=None, reset=None, t=None)
    >>> carry = Carry(cell.initial_state((2,)))
    >>> parallel(cell, operands, inputs, carry, padding="zero")[1].shape
    (7, 2, 5)
    """
    (h_0,), structure = jax.tree.flatten(carry.state)
    xs, valid, reset, _ = inputs
    a, b = cell.coefficients(operands.params, xs)
    dtype = promote_dtypes(b.dtype, h_0.dtype)
    a, b = raw = (a.astype(dtype), b.astype(dtype))
    if reset is not None:
        (initial,) = jax.tree.leaves(operands.initial)
        b = where_rows(reset, a * initial.astype(b.dtype) + b, b)
        a = zero_elsewhere(~reset, a)
    if valid is not None:
        a, b = where_rows(valid, (a, b), (jnp.ones_like(a), jnp.zeros_like(b)))
    a, b = lax.associative_scan(_joined, (a, b), reverse=reverse)
    hs = a * h_0.astype(b.dtype) + b
    ys = hs
    if valid is not None and padding == "zero":
        ys = zero_elsewhere(valid, hs)
    elif valid is not None and padding == "raw":
        before = (
            (hs[1:], h_0[None].astype(hs.dtype))
            if reverse
            else (h_0[None].astype(hs.dtype), hs[:-1])
        )
        ys = where_rows(valid, hs, raw[0] * jnp.concatenate(before) + raw[1])
    final = hs[0 if reverse else -1] if hs.shape[0] else h_0
    final, ys, hs = (array.astype(h_0.dtype) for array in (final, ys, hs))
    return structure.unflatten([final]), ys, structure.unflatten([hs])


def _joined(first: Any, second: Any) -> Any:
    """The step that two steps in a row are."""
    (a_1, b_1), (a_2, b_2) = first, second
    return a_2 * a_1, a_2 * b_1 + b_2
