import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.cells.refined import RefinedLSTM, RefinedLSTMParams
from lstm_jax.initializers import UniformGate, preset
from tests.helpers.cells import CASES, draw, error
from tests.helpers.reference import sigmoid


def equations(params, state, x):
    (W, R, b), (h, c) = params, state
    z_r, z_f, z_g, z_o = np.split(x @ W + h @ R + b, 4, axis=-1)
    r, f, g, o = sigmoid(z_r), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)
    # Another form of the paper's gate: f^2, and r times the width of the band.
    e = f**2 + r * 2 * f * (1 - f)
    c_new = e * c + (1 - e) * g
    return (o * np.tanh(c_new), c_new), (r, f, e, 1 - e, g, o)


@pytest.mark.usefixtures("x64")
@CASES
def test_is_the_equations_in_float64(n, m, batch):
    assert error(RefinedLSTM(n, m), equations, batch) < 1e-12


def test_is_the_equations_in_float32():
    assert error(RefinedLSTM(40, 64), equations, (4,), jnp.float32) < 1e-6


@pytest.mark.usefixtures("x64")
def test_gate_order_is_r_f_g_o():
    # sigmoid(log 3) = 3/4, sigmoid(-log 4) = 1/5, tanh(log 2) = 3/5, sigmoid(log 9) = 9/10.
    r, f, g, o = np.log(3.0), np.log(1 / 4), np.log(2.0), np.log(9.0)
    e = 3 / 4 * (1 - (4 / 5) ** 2) + 1 / 4 * (1 / 5) ** 2
    c = e * 2.0 + (1 - e) * 3 / 5
    for bias in itertools.permutations([r, f, g, o]):
        params = RefinedLSTMParams(jnp.zeros((1, 4)), jnp.zeros((1, 4)), jnp.array(bias))
        new = RefinedLSTM(1, 1).step(params, (jnp.zeros(1), jnp.array([2.0])), jnp.zeros(1))
        agrees = np.allclose(jnp.concatenate(new), [9 / 10 * np.tanh(c), c], rtol=0, atol=1e-12)
        assert agrees == (bias == (r, f, g, o)), bias


def test_the_ur_lstm_starts_with_uniform_forget_gates_and_the_opposite_refine_gate():
    params = RefinedLSTM(3, 500, bias_init=UniformGate()).init(jax.random.key(0))
    b_r, b_f, b_g, b_o = jnp.split(params.bias, 4)
    np.testing.assert_array_equal(b_r, -b_f)
    assert not jnp.any(b_g) and not jnp.any(b_o)  # noqa: PT018
    f = np.sort(jax.nn.sigmoid(b_f))
    np.testing.assert_allclose(f, (np.arange(500) + 0.5) / 500, atol=0.08)


@pytest.mark.parametrize("name", ["chrono", "uniform_gate"])
def test_presets_of_gates_give_the_refine_gate_the_opposite_bias(name):
    t_max = 50.0 if name == "chrono" else None
    inits = preset(name, 3, 5, cell="RefinedLSTM", t_max=t_max)
    b_r, b_f, *rest = jnp.split(RefinedLSTM(3, 5, **inits).init(jax.random.key(0)).bias, 4)
    np.testing.assert_array_equal(b_r, -b_f)
    assert float(jnp.std(b_f)) > 0.1
    assert not any(map(jnp.any, rest))
    inits = preset(name, 3, 5, cell="CoupledLSTM", t_max=t_max)
    f, *rest = jnp.split(lj.CoupledLSTM(3, 5, **inits).init(jax.random.key(0)).bias, 3)
    assert float(jnp.std(f)) > 0.1
    assert not any(map(jnp.any, rest))
    for kind in (lj.PeepholeLSTM, lj.LayerNormLSTM):
        same = preset(name, 3, 5, cell=kind.__name__, t_max=t_max)
        assert same == preset(name, 3, 5, t_max=t_max)
        assert kind(3, 5, **same).init(jax.random.key(0)).bias.shape == (20,)
    with pytest.raises(ValueError, match="there is no 'keras' for RefinedLSTM"):
        preset("keras", 3, 5, cell="RefinedLSTM")


def test_the_refine_gate_moves_the_forget_gate_within_a_band():
    cell = RefinedLSTM(3, 5)
    params, state, x = draw(cell, (4,), jnp.float32)
    gates = cell.gates(params, state, x)
    assert jnp.all((gates.f**2 < gates.e) & (gates.e < 1 - (1 - gates.f) ** 2))
    np.testing.assert_allclose(gates.i, 1 - gates.e, rtol=1e-6)


def test_the_cell_state_stays_within_one():
    cell = RefinedLSTM(3, 5)
    params, _, x = draw(cell, (4,), jnp.float32)
    final, _ = lj.unroll(cell, params, jnp.stack([10 * x] * 50))
    assert jnp.abs(final.c).max() <= 1
