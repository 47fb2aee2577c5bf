"""Gradients of bfloat16 parameters are summed over time in float32, by every backend and remat."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.testing import quick_jit
from tests.helpers.toys import may_fall_back, slow_case

pytestmark = may_fall_back
KEY = jax.random.key(0)
BFLOAT16 = jnp.bfloat16


def of(kind, *sizes, **fields):
    """A cell of 3 inputs, by its dtype."""
    return lambda dtype: kind(*(sizes or (3, 8)), dtype=dtype, **fields)


def deep(dtype):
    return lj.stack(
        lj.learned_initial_state(lj.skip(lj.LSTM(3, 8, dtype=dtype))),
        lj.zoneout(lj.weight_drop(lj.GRU(11, 8, dtype=dtype), 0.2), h=0.1),
        dropout=0.2,
    )


CELLS = {
    "LSTM": of(lj.LSTM),
    "GRU": of(lj.GRU),
    "stack": deep,
    "TanhRNN": of(lj.TanhRNN),
    "OriginalLSTM": of(lj.OriginalLSTM),
    "PeepholeLSTM": of(lj.PeepholeLSTM),
    "CoupledLSTM": of(lj.CoupledLSTM),
    "RefinedLSTM": of(lj.RefinedLSTM),
    "LayerNormLSTM": of(lj.LayerNormLSTM),
    "ProjectedLSTM": of(lj.ProjectedLSTM, projection_size=4),
    "MinLSTM": of(lj.MinLSTM),
    "SLSTM": of(lj.SLSTM),
    "MLSTM": of(lj.MLSTM, num_heads=2),
    "ConvLSTM": of(lj.ConvLSTM, (3, 3), 4, kernel_size=3),
    "layers": lambda dtype: lj.stack(of(lj.LSTM)(dtype), lj.residual(of(lj.LSTM, 8, 8)(dtype))),
    "bidirectional": lambda dtype: lj.bidirectional(of(lj.LSTM)(dtype), of(lj.GRU)(dtype)),
    "weight_drop": lambda dtype: lj.weight_drop(of(lj.LSTM)(dtype), 0.2),
    "recurrent_dropout": lambda dtype: lj.recurrent_dropout(of(lj.LSTM)(dtype), 0.2),
    "clip": lambda dtype: lj.clip(of(lj.LSTM)(dtype), c=5.0),
}
SCAN, CHUNKS, STEP = {"implementation": "scan"}, {"remat": 23}, {"remat": "step"}
IN_PARALLEL = {"implementation": "parallel"}


def gradient(unroll, cell, params, xs, **options):
    """The gradient of the mean output: a sum over time of terms of one sign."""
    resets = np.random.default_rng(0).random(xs.shape[:2]) < 0.02

    def loss(params):
        ys = unroll(cell, params, xs, key=KEY, reset=resets, **options)[1]
        return jnp.mean(ys.astype(jnp.float32) ** 2)

    return quick_jit(jax.grad(loss))(params)


def relative_errors(actual, expected):
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    pairs = [[np.asarray(each, np.float64) for each in pair] for pair in pairs]
    return [np.linalg.norm(a - b) / (np.linalg.norm(b) or 1) for a, b in pairs]


def numbers(name, dtype, T):
    """The cell with parameters of low precision, and with the same ones in float32."""
    low, high = CELLS[name](dtype), CELLS[name](lj.Policy(param=jnp.float32, compute=dtype))
    params = low.init(KEY)
    assert jnp.dtype(dtype) in {leaf.dtype for leaf in jax.tree.leaves(params)}
    same = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    xs = 1 + jax.random.normal(KEY, (T, 2, *[3] * (2 if name == "ConvLSTM" else 1)), jnp.float32)
    return low, params, high, same, xs.astype(dtype)


@functools.cache
def expected(name, dtype, T):
    _, _, high, same, xs = numbers(name, dtype, T)
    return gradient(lj.unroll, high, same, xs, **SCAN)


def check(name, T, *every, dtype=BFLOAT16):
    low, params, _, _, xs = numbers(name, dtype, T)
    for options in every:
        actual = gradient(lj.unroll, low, params, xs, **options)
        assert max(relative_errors(actual, expected(name, dtype, T))) < 0.01, options


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LSTM", SCAN),
        ("LSTM", {}),  # the native backend where there is one
        slow_case("LSTM", SCAN | STEP),
        ("LSTM", CHUNKS),
        ("GRU", STEP),
        slow_case("GRU", CHUNKS),
        ("MinLSTM", IN_PARALLEL),
        ("stack", CHUNKS),
        slow_case("stack", STEP),
    ],
)
def test_gradients_of_bfloat16_parameters_are_those_of_float32_parameters(name, options):
    check(name, 500, options)


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(
    ("T", "dtype", "every"),
    [
        (500, BFLOAT16, (SCAN, SCAN | STEP, SCAN | CHUNKS, {}, CHUNKS, IN_PARALLEL)),
        (500, jnp.float16, (SCAN, {})),
        (4000, BFLOAT16, (SCAN, CHUNKS)),
    ],
)
def test_every_cell_and_transform_by_every_backend_and_remat(name, T, dtype, every):
    check(name, T, *every, dtype=dtype)


@pytest.mark.slow
def test_truncated_gradients():
    """One chunk of all steps, and many; the reference is the same in float32."""
    for k1, k2 in ((500, 500), (20, 40)):
        low, params, high, same, xs = numbers("GRU", BFLOAT16, 500)
        truncated = functools.partial(lj.tbptt, k1=k1, k2=k2)
        actual, expected = (
            gradient(truncated, cell, p, xs) for cell, p in ((low, params), (high, same))
        )
        assert max(relative_errors(actual, expected)) < 0.01


def test_a_sum_in_bfloat16_would_differ():
    """What the tests above guard against: terms that are too small for the sum are lost."""
    cell, params, high, same, xs = numbers("LSTM", BFLOAT16, 500)

    def in_a_scan(cell, params, xs, **options):
        step = lambda state, x: (cell.step(params, state, x),) * 2  # noqa: E731
        final, states = jax.lax.scan(step, cell.initial_state((2,)), xs)
        return final, states.h

    actual = gradient(in_a_scan, cell, params, xs)
    expected = gradient(in_a_scan, high, same, xs)
    assert max(relative_errors(actual, expected)) > 0.02
