"""Dropout inside of a step, alone and together with zoneout."""

import jax
import jax.numpy as jnp
import pytest

import lstm_jax as lj
from lstm_jax.initializers import ForgetBias
from lstm_jax.transforms import StepRng, drop
from tests.helpers.reference import relative_error

KEY = jax.random.key(0)
CELL = lj.LSTM(3, 5)
PARAMS = CELL.init(KEY)
XS = jax.random.normal(KEY, (6, 2, 3))


@pytest.mark.parametrize("reset_after", [True, False])
def test_recurrent_dropout_of_a_gru_drops_inputs_of_gates_and_not_the_carried_state(reset_after):
    cell = lj.GRU(3, 8, reset_after=reset_after, bias_init=ForgetBias(3.0, gate=1, gates=3))
    dropped = lj.recurrent_dropout(cell, 0.25)
    params, xs = cell.init(KEY), jax.random.normal(KEY, (400, 3))
    _, hs = lj.unroll(dropped, params, xs, key=KEY)
    assert jnp.abs(hs).max() <= 1  # a mean of h_{t-1} and of a tanh

    rng = StepRng(KEY, jnp.asarray(0, jnp.int32))
    (h,), x = lj.GRUState(jnp.linspace(-1, 1, 8)), xs[0]
    m_h = drop(rng.sequence_key, 0.25, h)
    gates = cell.gates(params, (m_h,), x)
    by_hand = (1 - gates.z) * gates.n + gates.z * h
    assert relative_error(dropped.step(params, (h,), x, rng).h, by_hand) < 1e-6


@pytest.mark.slow
def test_recurrent_dropout_and_candidate_dropout_act_in_the_same_step():
    cell = lj.GRU(3, 8)
    params, xs = cell.init(KEY), jax.random.normal(KEY, (5, 3))
    one = lj.candidate_dropout(lj.recurrent_dropout(cell, 0.5), 0.5)
    other = lj.recurrent_dropout(lj.candidate_dropout(cell, 0.5), 0.5)
    for both in (one, other, lj.zoneout(one, h=0.1)):
        outputs = [lj.unroll(both, params, xs, key=k)[1] for k in (None, KEY)]
        assert jnp.isfinite(outputs[1]).all()
        assert not jnp.allclose(*outputs)


def test_zoneout_keeps_h_through_dropout_of_the_same_h():
    cell = lj.recurrent_dropout(lj.zoneout(CELL, h=1.0), 0.5)
    state = lj.LSTMState(jnp.linspace(-1, 1, 5), jnp.zeros(5))
    rng = StepRng(KEY, jnp.asarray(0, jnp.int32))
    assert jnp.array_equal(cell.step(PARAMS, state, XS[0, 0], rng).h, state.h)


def test_zoneout_draws_no_mask_for_a_rate_of_zero():
    def text(**rates):
        cell = lj.zoneout(CELL, **rates)
        return jax.jit(lambda key: lj.unroll(cell, PARAMS, XS, key=key)).lower(KEY).as_text()

    def draws(**rates):
        return text(**rates).count("call @_bernoulli")

    assert draws(h=0.0, c=0.0) == 0
    assert draws(h=0.1) == draws(c=0.1) == 1
    assert draws(h=0.1, c=0.1) == 2
