import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax.cells.original import OriginalLSTM, OriginalLSTMParams, squash_g, squash_h
from tests.helpers.cells import CASES, error
from tests.helpers.reference import sigmoid


def g_of_1997(z):
    return 4 / (1 + np.exp(-z)) - 2


def h_of_1997(z):
    return 2 / (1 + np.exp(-z)) - 1


def equations(params, state, x, g_of=np.tanh, h_of=np.tanh):
    (W, R, b), (h, c) = params, state
    H = c.shape[-1]
    i = sigmoid(x @ W[:, :H] + h @ R[:, :H] + b[:H])
    g = g_of(x @ W[:, H : 2 * H] + h @ R[:, H : 2 * H] + b[H : 2 * H])
    o = sigmoid(x @ W[:, 2 * H :] + h @ R[:, 2 * H :] + b[2 * H :])
    c_new = c + i * g
    return (o * h_of(c_new), c_new), (i, g, o)


def equations_of_1997(params, state, x):
    return equations(params, state, x, g_of_1997, h_of_1997)


PAPER = {"activation": squash_g, "output_activation": squash_h}
FORMS = pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, equations), (PAPER, equations_of_1997)],
    ids=["tanh", "paper"],
)


@pytest.mark.usefixtures("x64")
@FORMS
@CASES
def test_is_the_equations_in_float64(n, m, batch, settings, expected):
    assert error(OriginalLSTM(n, m, **settings), expected, batch) < 1e-12


@FORMS
def test_is_the_equations_in_float32(settings, expected):
    assert error(OriginalLSTM(40, 64, **settings), expected, (4,), jnp.float32) < 1e-6


@pytest.mark.usefixtures("x64")
def test_gate_order_is_i_g_o():
    # sigmoid(log 3) = 3/4, tanh(log 2) = 3/5, sigmoid(log 9) = 9/10.
    i, g, o = np.log(3.0), np.log(2.0), np.log(9.0)
    c = 2.0 + 3 / 4 * 3 / 5
    for bias in itertools.permutations([i, g, o]):
        params = OriginalLSTMParams(jnp.zeros((1, 3)), jnp.zeros((1, 3)), jnp.array(bias))
        new = OriginalLSTM(1, 1).step(params, (jnp.zeros(1), jnp.array([2.0])), jnp.zeros(1))
        agrees = np.allclose(jnp.concatenate(new), [9 / 10 * np.tanh(c), c], rtol=0, atol=1e-12)
        assert agrees == (bias == (i, g, o)), bias


@pytest.mark.usefixtures("x64")
def test_the_functions_of_the_paper():
    z = np.linspace(-20, 20, 41)
    np.testing.assert_allclose(squash_g(jnp.array(z)), g_of_1997(z), rtol=0, atol=1e-14)
    np.testing.assert_allclose(squash_h(jnp.array(z)), h_of_1997(z), rtol=0, atol=1e-14)


def test_starts_orthogonal_with_no_bias():
    kernel, recurrent, bias = OriginalLSTM(3, 5).init(jax.random.key(0))
    assert kernel.shape == (3, 15)
    for block in jnp.split(recurrent, 3, axis=1):
        np.testing.assert_allclose(block.T @ block, jnp.eye(5), atol=1e-5)
    assert jnp.array_equal(bias, jnp.zeros(15))


def test_nothing_fades_from_the_cell_state():
    cell = OriginalLSTM(1, 1, bias_init=jax.nn.initializers.constant(-100.0))  # all gates shut
    params = cell.init(jax.random.key(0))
    state = jax.lax.fori_loop(
        0,
        1000,
        lambda _, s: cell.step(params, s, jnp.ones(1)),
        cell.initial_state()._replace(c=jnp.array([0.7])),
    )
    assert state.c == jnp.float32(0.7)
