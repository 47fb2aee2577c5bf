"""The parallel backend: all steps at once, for cells that are linear in their state."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lstm_jax.backends.request import Request, Result, platform
from lstm_jax.backends.scan import checked_state
from lstm_jax.masks import where_rows, zero_masked
from lstm_jax.transforms.transform import LinearCell
from lstm_jax.types import promote_dtypes

OPTIONS = frozenset({"padding", "remat", "unroll", "implementation"})


def unsupported_cell_reason(cell: Any) -> str | None:
    """Why it never runs a cell, or None."""
    if not isinstance(cell, LinearCell):
        return f"it runs cells that are linear in their state; the cell is a {type(cell).__name__}"
    return None


def unsupported_reason(request: Request) -> str | None:
    """Why it does not support a request, or None."""
    if request.options.remat is not None:
        return f"it keeps all states for a gradient; remat={request.options.remat!r} excludes that"
    if not isinstance(jax.tree.leaves(request.xs)[0].shape[0], int):
        return "the number of steps must be a number; it is symbolic"
    return unsupported_cell_reason(request.cell)


def not_preferred_reason() -> str:
    """Why it runs only where it is named."""
    if platform() == "cpu":  # about log T passes over memory
        return "it is slower than the scan on a CPU"
    return f'on a {platform()} the scan is the default; select this with implementation="parallel"'


def compute(request: Request) -> Result:
    """Solve ``h_t = a_t * h_{t-1} + b_t`` for all ``t`` in about ``log T`` passes.

    Two steps in a row are one step of the same form, ``(a_2 a_1, a_2 b_1 + b_2)``, so the steps
    can be joined in any order. A masked step is ``(1, 0)``; a reset one is ``(0, a h_0 + b)``.

    Args:
      request: a request for a cell with `coefficients`, and a state of one field ``h [..., H]``.

    Returns:
      ``(final, outputs, states)``: the last with leaves ``[T, ...]``.

    Reference:
      Blelloch (1990), *Prefix sums and their applications*; Martin & Cundy (2018), *Parallelizing
      linear recurrent neural nets over sequence length*.
    """
    valid, reset, reverse = request.valid, request.reset, request.reverse
    state = checked_state(request)
    (h_0,), structure = jax.tree.flatten(state)
    cell: LinearCell = request.cell
    a, b = cell.coefficients(request.params, request.zero_masked(request.xs))
    dtype = promote_dtypes(b.dtype, h_0.dtype)
    a, b = raw = (a.astype(dtype), b.astype(dtype))
    if reset is not None:
        (initial,) = jax.tree.leaves(request.reset_target(state))
        b = where_rows(reset, a * initial[None].astype(b.dtype) + b, b)
        a = zero_masked(~reset, a)
    if valid is not None:
        a, b = where_rows(valid, (a, b), (jnp.ones_like(a), jnp.zeros_like(b)))
    a, b = lax.associative_scan(_joined, (a, b), reverse=reverse)
    hs = a * h_0[None].astype(b.dtype) + b
    ys = hs
    if valid is not None and request.options.padding == "zero":
        ys = zero_masked(valid, hs)
    elif valid is not None and request.options.padding == "raw":
        h_0s = h_0[None].astype(hs.dtype)
        hs_tm1 = jnp.concatenate((hs[1:], h_0s) if reverse else (h_0s, hs[:-1]))
        ys = where_rows(valid, hs, raw[0] * hs_tm1 + raw[1])
    final = hs[0 if reverse else -1] if hs.shape[0] else h_0
    final, ys, hs = (array.astype(h_0.dtype) for array in (final, ys, hs))
    return structure.unflatten([final]), ys, structure.unflatten([hs])


def _joined(first: Any, second: Any) -> Any:
    """The step that two steps in a row are."""
    (a_1, b_1), (a_2, b_2) = first, second
    return a_2 * a_1, a_2 * b_1 + b_2
