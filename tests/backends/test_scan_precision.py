"""The scan sums gradients over time in float32, also those of bfloat16 parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from tests.helpers.toys import slow_case

T = 500
KEY = jax.random.key(0)
BFLOAT16 = jnp.bfloat16
FLOAT32_PARAMS = lj.Policy(param=jnp.float32, compute=jnp.bfloat16)


def deep(dtype):
    return lj.stack(
        lj.learned_initial_state(lj.skip(lj.LSTM(3, 8, dtype=dtype))),
        lj.zoneout(lj.weight_drop(lj.GRU(11, 8, dtype=dtype), 0.2), h=0.1),
        dropout=0.2,
    )


CELLS = {
    "LSTM": lambda dtype: lj.LSTM(3, 8, dtype=dtype),
    "GRU": lambda dtype: lj.GRU(3, 8, dtype=dtype),
    "stack": deep,
}


def gradient(cell, params, xs, **options):
    """The gradient of the mean output: a sum over time of terms of one sign."""

    def loss(params):
        _, ys = lj.unroll(cell, params, xs, implementation="scan", key=KEY, **options)
        return jnp.mean(ys.astype(jnp.float32) ** 2)

    return jax.jit(jax.grad(loss))(params)


def relative_errors(actual, expected):
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    pairs = [[np.asarray(each, np.float64) for each in pair] for pair in pairs]
    return [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs]


@pytest.mark.parametrize(
    ("name", "remat"),
    [
        ("LSTM", None),
        ("LSTM", "step"),
        ("LSTM", 23),
        slow_case("GRU", None),
        slow_case("GRU", "step"),
        ("GRU", 23),
        ("stack", None),
        slow_case("stack", "step"),
        ("stack", 23),
    ],
)
def test_gradients_of_bfloat16_parameters_are_those_of_float32_parameters(name, remat):
    low, high = CELLS[name](BFLOAT16), CELLS[name](FLOAT32_PARAMS)
    params = low.init(KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} >= {jnp.dtype(BFLOAT16)}
    xs = 1 + jax.random.normal(KEY, (T, 2, 3), BFLOAT16)
    actual = gradient(low, params, xs, remat=remat)
    same = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    expected = gradient(high, same, xs, remat=remat)
    assert max(relative_errors(actual, expected)) < 0.01


def test_a_sum_in_bfloat16_would_differ():
    """What the test above guards against: terms that are too small for the sum are lost."""
    cell, xs = CELLS["LSTM"](BFLOAT16), 1 + jax.random.normal(KEY, (T, 2, 3), BFLOAT16)
    params = cell.init(KEY)

    def loss(params):
        step = lambda state, x: (cell.step(params, state, x),) * 2  # noqa: E731
        _, states = jax.lax.scan(step, cell.initial_state((2,)), xs)
        return jnp.mean(states.h.astype(jnp.float32) ** 2)

    summed_in_bfloat16 = jax.jit(jax.grad(loss))(params)
    assert max(relative_errors(summed_in_bfloat16, gradient(cell, params, xs))) > 0.02
