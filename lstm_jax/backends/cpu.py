"""The native backend for CPUs: a plain LSTM layer over a whole sequence in one call of C++."""

import math
import platform as machine
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.backends import ffi
from lstm_jax.backends.layer import Layer
from lstm_jax.backends.plain_lstm import array_reason, not_plain_reason
from lstm_jax.backends.request import (
    Request,
    Result,
    explicit_mesh_reason,
    platform,
    symbolic_size_reason,
)
from lstm_jax.backends.rule import call
from lstm_jax.masks import zero_masked
from lstm_jax.sharding import match_varying_axes
from lstm_jax.types import LSTMState

OPTIONS = frozenset({"padding", "remat", "unroll", "implementation"})


def unsupported_cell_reason(cell: Any) -> str | None:
    """Why it never runs a cell on this machine, or None."""
    if platform() != "cpu":
        return f"it runs on CPUs; the default device is a {platform()}"
    if (reason := ffi.load()) is not None:
        return reason
    return not_plain_reason(cell)


def unsupported_reason(request: Request) -> str | None:
    """Why it does not support a request, or None."""
    if (reason := unsupported_cell_reason(request.cell)) is not None:
        return reason
    if (reason := array_reason(request)) is not None:
        return reason
    return _option_reason(request) or _dtype_reason(request) or _size_reason(request)


def not_preferred_reason() -> str | None:
    """Why it runs only where it is named, or None."""
    if ffi.instruction_set() == "baseline" and machine.machine().lower() in ("x86_64", "amd64"):
        return "without AVX2 it is slower than the scan"
    return None


def compute(request: Request) -> Result:
    """Unroll a plain LSTM in native code."""
    x, valid, reset = request.zero_masked(request.xs), request.valid, request.reset
    params, (h, c) = request.params, request.state
    (T, *rows, features), H = x.shape, params.recurrent_kernel.shape[0]
    B = math.prod(rows)
    dtype = request.cell.in_compute_dtype(params).kernel.dtype
    rounds = dtype == jnp.bfloat16
    if rounds:
        # Not cast to bfloat16 and back: that would round the finished gradients as well.
        dtype, (x, *params) = jnp.float32, (_rounded(a.astype(jnp.float32)) for a in (x, *params))
    args = [
        x.reshape(1, T, B, features),
        *(weight[None] for weight in params),
        *(each.reshape(1, B, H) for each in (h, c)),
    ]
    args = [arg.astype(dtype) for arg in args]
    for flags in (valid, reset):
        if flags is not None:  # they may have only the first of the batch axes
            flags = flags.reshape(flags.shape + (1,) * (1 + len(rows) - flags.ndim))
            args.append(jnp.broadcast_to(flags, (T, *rows)).reshape(1, T, B))
    layer = Layer(
        masked=valid is not None,
        resets=reset is not None,
        reverse=request.reverse,
        states=request.return_states,
        rounds=rounds,
    )
    hs, h_T, c_T, *cs = call(layer, *match_varying_axes(args))
    final = LSTMState(h_T.reshape(*rows, H).astype(h.dtype), c_T.reshape(*rows, H).astype(c.dtype))
    hs = hs.reshape(T, *rows, H).astype(h.dtype)
    states = None
    if cs:
        states = LSTMState(hs, cs[0].reshape(T, *rows, H).astype(c.dtype))
    ys = zero_masked(valid, hs) if valid is not None and request.options.padding == "zero" else hs
    return final, ys, states


@jax.custom_jvp
def _rounded(array: jax.Array) -> jax.Array:
    """Numbers rounded to bfloat16, in float32; gradients are not rounded."""
    to = jnp.finfo(jnp.bfloat16)
    return jax.lax.reduce_precision(array, to.nexp, to.nmant)


@_rounded.defjvp
def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    return _rounded(*primals), tangents[0]


def _option_reason(request: Request) -> str | None:
    options = request.options
    if request.valid is not None and options.padding == "raw":
        return 'it keeps the state at masked steps; padding="raw" outputs the step itself'
    if options.remat is not None:  # inside of a chunk, remat is None
        return f"it keeps every step for a gradient; remat={options.remat!r} excludes that"
    return None


def _dtype_reason(request: Request) -> str | None:
    params = request.cell.in_compute_dtype(request.params)
    of_params = {leaf.dtype.name for leaf in jax.tree.leaves(params)}
    h, c = request.state
    got = (*of_params, h.dtype.name, c.dtype.name)
    if got not in (("float32",) * 3, ("float64",) * 3, ("bfloat16", "bfloat16", "float32")):
        return (
            "it runs float32, float64, or bfloat16 with c in float32; parameters, h and c are"
            f" {', '.join(got)}"
        )
    return None


def _size_reason(request: Request) -> str | None:
    if (reason := symbolic_size_reason(request)) is not None:
        return reason
    if request.xs.shape[0] == 0:
        return "there is no step to run"
    return explicit_mesh_reason(request)
