"""LSTMs unrolled by one implementation, compared with the plain scan."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.backends import cpu
from lstm_jax.testing import quick_jit, with_gradients

# How far values and gradients may be from the scan's, relative to the largest number of each array.
CLOSE = {"float32": (1e-6, 1e-5), "float64": (1e-12, 1e-12), "bfloat16": (0.01, 0.03)}
T, B = 9, 4

_REASON = cpu.unsupported_cell_reason(lj.LSTM(1, 1))
needs_native = pytest.mark.skipif(_REASON is not None, reason=f"the native backend: {_REASON}")


class Numbers(NamedTuple):
    """Arguments of `unroll`, all of them random so that no term is zero."""

    params: Any
    xs: Any
    state: Any


def draw(cell, T=T, batch=(B,), seed=0):
    """Random `Numbers` for any cell made of LSTMs."""
    normal = np.random.default_rng(seed).standard_normal

    def like(leaf):
        rows = leaf.shape[0] if leaf.ndim == 2 else 1
        return jnp.asarray(normal(leaf.shape) / np.sqrt(rows), leaf.dtype)

    params = jax.tree.map(like, jax.eval_shape(cell.init, jax.random.key(0)))
    state = jax.tree.map(
        lambda leaf: jnp.asarray(np.tanh(normal(leaf.shape)), leaf.dtype),
        jax.eval_shape(lambda: cell.initial_state(batch)),
    )
    xs = jnp.asarray(normal((T, *batch, cell.input_size)), jax.tree.leaves(state)[0].dtype)
    return Numbers(params, xs, state)


def lengths_of(T, batch, seed=0):
    """Random lengths, 0 and T among them."""
    lengths = np.random.default_rng(seed).integers(0, T + 1, batch)
    lengths.flat[:2] = [0, T][: lengths.size]
    return lengths


def flags(shape, share, seed=0):
    """True at random places, with the probability `share`."""
    return np.random.default_rng(seed).random(shape) < share


def results(cell, numbers, *, own_state=False, **options):
    """What `unroll` returns, and its gradients by parameters, inputs and state."""

    def run(params, xs, state):
        return lj.unroll(cell, params, xs, None if own_state else state, **options)

    return quick_jit(with_gradients(run))(*numbers)


def implementations(cell, numbers, **options):
    """The implementations by which a cell is unrolled."""
    params, xs, state = numbers
    return set(lj.explain(cell, xs, state, params=params, **options).implementations)


def assert_near(got, wanted, dtype="float32", loose=1):
    """Check that values and gradients are close to each other, and of the same types."""
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for part, of_got, of_wanted, bound in zip(
        ("values", "gradients"), got, wanted, CLOSE[dtype], strict=True
    ):
        leaves = jax.tree_util.tree_leaves_with_path(of_got)
        for (path, a), b in zip(leaves, jax.tree.leaves(of_wanted), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
            off, most = (float(np.max(np.abs(each), initial=0.0)) for each in (a - b, b))
            where = f"{part}{jax.tree_util.keystr(path)}"
            assert off <= loose * bound * most, f"{where}: off by {off} of {most}"


def agrees(cell, numbers=None, dtype="float32", *, loose=1, own_state=False, **options):
    """Compare the native backend with the scan."""
    numbers = draw(cell) if numbers is None else numbers
    assert implementations(cell, numbers, implementation="cpu", **options) == {"cpu"}
    got, wanted = (
        results(cell, numbers, own_state=own_state, implementation=name, **options)
        for name in ("cpu", "scan")
    )
    assert_near(got, wanted, dtype, loose)
