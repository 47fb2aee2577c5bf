"""The native kernels: a plain LSTM layer over a whole sequence in one call of C++."""

import math
import platform as machine
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.backends import ffi
from lstm_jax.backends.layer import Layer, not_features, not_plain
from lstm_jax.backends.problem import Problem, explicit_mesh_reason, has_symbols, platform
from lstm_jax.backends.rule import call
from lstm_jax.masks import zero_elsewhere
from lstm_jax.sharding import alike
from lstm_jax.types import LSTMState, PyTree


def unsupported_reason(problem: Problem) -> str | None:
    """Why a problem is not one for the native kernels, or None.

    Args:
      problem: what is asked for.

    Returns:
      A reason in a few words.
    """
    return (
        unsupported_cell_reason(problem.cell)
        or _of_options(problem)
        or _of_dtypes(problem)
        or _of_arrays(problem)
    )


def unsupported_cell_reason(cell: Any) -> str | None:
    """Why they never run a cell, or None."""
    if platform() != "cpu":
        return f"it runs on processors; the default device is a {platform()}"
    if (reason := ffi.load()) is not None:
        return reason
    return not_plain(cell)


def not_preferred_reason() -> str | None:
    """Why they should not be taken unless asked for, or None."""
    if ffi.instruction_set() == "baseline" and machine.machine().lower() in ("x86_64", "amd64"):
        return "without AVX2 it is slower than the compiled loop"
    return None


def solve(problem: Problem) -> tuple[PyTree, PyTree, PyTree]:
    """Run a plain LSTM by the native kernels."""
    x, valid, reset, _ = problem.inputs
    if valid is not None and not problem.safe_inputs:
        x = zero_elsewhere(valid, x)
    params, (h, c) = problem.operands.params, problem.carry.state
    (T, *rows, features), H = x.shape, params.recurrent_kernel.shape[0]
    B = math.prod(rows)
    dtype = problem.cell.in_compute_dtype(params).kernel.dtype
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
        if flags is not None:  # their axes may be fewer: the first of those of the rows
            flags = flags.reshape(flags.shape + (1,) * (1 + len(rows) - flags.ndim))
            args.append(jnp.broadcast_to(flags, (T, *rows)).reshape(1, T, B))
    layer = Layer(
        masked=valid is not None,
        resets=reset is not None,
        reverse=problem.reverse,
        states=problem.return_states,
        rounds=rounds,
    )
    hs, h_T, c_T, *cs = call(layer, *alike(args))
    final = LSTMState(h_T.reshape(*rows, H).astype(h.dtype), c_T.reshape(*rows, H).astype(c.dtype))
    hs = hs.reshape(T, *rows, H).astype(h.dtype)
    states = None
    if cs:
        states = LSTMState(hs, cs[0].reshape(T, *rows, H).astype(c.dtype))
    ys = zero_elsewhere(valid, hs) if valid is not None and problem.padding == "zero" else hs
    return final, ys, states


@jax.custom_jvp
def _rounded(array: jax.Array) -> jax.Array:
    """Numbers of bfloat16 in float32; gradients pass as they are."""
    to = jnp.finfo(jnp.bfloat16)
    return jax.lax.reduce_precision(array, to.nexp, to.nmant)


@_rounded.defjvp
def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    return _rounded(*primals), tangents[0]


def _of_options(problem: Problem) -> str | None:
    if problem.inputs.valid is not None and problem.padding == "raw":
        return 'it holds the state at masked steps; padding="raw" shows the step itself'
    if problem.remat is not None:  # a chunk that is run by itself has none
        return f"it keeps every step; remat={problem.remat!r} asks for less"
    return None


def _of_dtypes(problem: Problem) -> str | None:
    params = problem.cell.in_compute_dtype(problem.operands.params)
    of_params = {leaf.dtype.name for leaf in jax.tree.leaves(params)}
    h, c = problem.carry.state
    got = (*of_params, h.dtype.name, c.dtype.name)
    if got not in (("float32",) * 3, ("float64",) * 3, ("bfloat16", "bfloat16", "float32")):
        return (
            "it runs float32, float64, or bfloat16 with c in float32; parameters, h and c are"
            f" {', '.join(got)}"
        )
    return None


def _of_arrays(problem: Problem) -> str | None:
    if (reason := not_features(problem.inputs.x)) is not None:
        return reason
    if (reason := has_symbols(problem)) is not None:
        return reason
    if problem.inputs.x.shape[0] == 0:
        return "there is no step to run"
    return explicit_mesh_reason(problem)
