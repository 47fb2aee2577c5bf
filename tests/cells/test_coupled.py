import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax.cells.coupled import CoupledLSTM, CoupledLSTMParams
from lstm_jax.initializers import ForgetBias
from tests.helpers.cells import CASES, draw, error
from tests.helpers.reference import sigmoid


def equations(params, state, x):
    (W, R, b), (h, c) = params, state
    H = c.shape[-1]
    f = sigmoid(x @ W[:, :H] + h @ R[:, :H] + b[:H])
    g = np.tanh(x @ W[:, H : 2 * H] + h @ R[:, H : 2 * H] + b[H : 2 * H])
    o = sigmoid(x @ W[:, 2 * H :] + h @ R[:, 2 * H :] + b[2 * H :])
    i = 1 - f
    c_new = i * g + f * c
    return (o * np.tanh(c_new), c_new), (i, f, g, o)


@pytest.mark.usefixtures("x64")
@CASES
def test_is_the_equations_in_float64(n, m, batch):
    assert error(CoupledLSTM(n, m), equations, batch) < 1e-12


def test_is_the_equations_in_float32():
    assert error(CoupledLSTM(40, 64), equations, (4,), jnp.float32) < 1e-6


@pytest.mark.usefixtures("x64")
def test_gate_order_is_f_g_o():
    # sigmoid(-log 4) = 1/5, tanh(log 2) = 3/5, sigmoid(log 9) = 9/10.
    f, g, o = np.log(1 / 4), np.log(2.0), np.log(9.0)
    c = 1 / 5 * 2.0 + 4 / 5 * 3 / 5
    for bias in itertools.permutations([f, g, o]):
        params = CoupledLSTMParams(jnp.zeros((1, 3)), jnp.zeros((1, 3)), jnp.array(bias))
        new = CoupledLSTM(1, 1).step(params, (jnp.zeros(1), jnp.array([2.0])), jnp.zeros(1))
        agrees = np.allclose(jnp.concatenate(new), [9 / 10 * np.tanh(c), c], rtol=0, atol=1e-12)
        assert agrees == (bias == (f, g, o)), bias


def test_starts_with_an_open_forget_gate():
    cell = CoupledLSTM(3, 5)
    params = cell.init(jax.random.key(0))
    assert jax.tree.map(jnp.shape, params) == CoupledLSTMParams((3, 15), (5, 15), (15,))
    f, g, o = jnp.split(params.bias, 3)
    assert jnp.array_equal(f, jnp.ones(5))
    assert not jnp.any(g)
    assert not jnp.any(o)
    for block in jnp.split(params.recurrent_kernel, 3, axis=1):
        np.testing.assert_allclose(block.T @ block, jnp.eye(5), atol=1e-5)


def test_the_cell_state_stays_within_one():
    cell = CoupledLSTM(3, 5)
    params, _, x = draw(cell, (4,), jnp.float32)
    state = cell.initial_state((4,))
    for _ in range(50):
        state = cell.step(params, state, 10 * x)
    assert jnp.abs(state.c).max() <= 1


def test_the_bias_of_a_gate_of_three():
    bias = ForgetBias(2.0, gate=2, gates=3)
    assert bias(jax.random.key(0), (6,)).tolist() == [0, 0, 0, 0, 2, 2]
    assert repr(bias) == "ForgetBias(value=2.0, gate=2, gates=3)"
    assert bias != ForgetBias(2.0)
    with pytest.raises(ValueError, match=r"ForgetBias: shape must be \(3 \* H,\); got \(8,\)"):
        bias(jax.random.key(0), (8,))
    with pytest.raises(ValueError, match=r"ForgetBias: gate must be one of the 3 gates.*; got 3"):
        ForgetBias(gate=3, gates=3)
