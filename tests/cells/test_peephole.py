import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import LSTM, LSTMParams
from lstm_jax.cells.peephole import PeepholeLSTM, PeepholeLSTMParams
from tests.helpers import reference
from tests.helpers.cells import CASES, draw, error
from tests.helpers.reference import sigmoid


def equations(params, state, x, squash=np.tanh):
    (W, R, b, p), (h, c) = params, state
    H = c.shape[-1]

    def net(k):
        block = slice(k * H, (k + 1) * H)
        return x @ W[:, block] + h @ R[:, block] + b[block]

    i = sigmoid(net(0) + p[:H] * c)
    f = sigmoid(net(1) + p[H : 2 * H] * c)
    g = squash(net(2))
    c_new = f * c + i * g
    o = sigmoid(net(3) + p[2 * H :] * c_new)
    return (o * np.tanh(c_new), c_new), (i, f, g, o)


@pytest.mark.usefixtures("x64")
@CASES
def test_is_the_equations_in_float64(n, m, batch):
    assert error(PeepholeLSTM(n, m), equations, batch) < 1e-12


def test_is_the_equations_in_float32():
    assert error(PeepholeLSTM(40, 64), equations, (4,), jnp.float32) < 1e-6


@pytest.mark.usefixtures("x64")
def test_peepholes_are_in_the_order_i_f_o():
    # c_{t-1} = 1 and nothing else: each peephole weight is the net input of its gate.
    zeros, i, f, o = jnp.zeros((1, 4)), np.log(3.0), np.log(1 / 4), np.log(9.0)
    bias = jnp.array([0.0, 0.0, np.log(2.0), 0.0])  # g = 3/5, so c_t = 1/5 + 3/4 * 3/5 = 13/20
    params = PeepholeLSTMParams(zeros, zeros, bias, jnp.array([i, f, o / (13 / 20)]))
    state = (jnp.zeros(1), jnp.ones(1))
    gates = PeepholeLSTM(1, 1).gates(params, state, jnp.zeros(1))
    np.testing.assert_allclose(jnp.concatenate(gates), [3 / 4, 1 / 5, 3 / 5, 9 / 10], atol=1e-12)
    new = PeepholeLSTM(1, 1).step(params, state, jnp.zeros(1))
    expected = [9 / 10 * np.tanh(13 / 20), 13 / 20]
    np.testing.assert_allclose(jnp.concatenate(new), expected, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_the_output_gate_sees_what_became_of_the_candidate():
    cell = PeepholeLSTM(3, 5)
    params, state, x = draw(cell, (4,))
    new = cell.step(params, state, x, on_candidate=jnp.zeros_like)
    numbers = jax.tree.map(reference.wide, (params, state, x))
    expected, _ = equations(*numbers, squash=np.zeros_like)
    assert max(map(reference.relative_error, new, expected)) < 1e-12


def test_starts_as_the_plain_lstm():
    params = PeepholeLSTM(3, 5).init(jax.random.key(0))
    assert jax.tree.map(jnp.shape, params) == PeepholeLSTMParams((3, 20), (5, 20), (20,), (15,))
    assert not params.peephole.any()
    _, state, x = draw(LSTM(3, 5), (4,), jnp.float32)
    expected = LSTM(3, 5).step(LSTMParams(*params[:3]), state, x)
    assert jax.tree.all(
        jax.tree.map(jnp.array_equal, PeepholeLSTM(3, 5).step(params, state, x), expected)
    )
    i, f, g, o = jnp.split(params.bias, 4)
    assert jnp.array_equal(f, jnp.ones(5))
    assert not any(jnp.any(gate) for gate in (i, g, o))


def test_peepholes_of_a_wrong_shape_are_named():
    cell = PeepholeLSTM(3, 5)
    params, state, x = draw(cell, (), jnp.float32)
    message = r"PeepholeLSTM\.step: params.peephole must have shape \[3H\] with H = 5; got \(20,\)"
    with pytest.raises(ValueError, match=message):
        cell.step(params._replace(peephole=jnp.zeros(20)), state, x)
