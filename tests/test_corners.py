"""Corners: sizes of nothing, plain and wide states, wrong calls of what is rarely called wrong."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.initializers import ForgetBias
from lstm_jax.testing import check_cell
from lstm_jax.transforms.step_rng import StepRng, drop
from tests.helpers.reference import relative_error

KEY = jax.random.key(0)
CELL = lj.LSTM(3, 5)
PARAMS = CELL.init(KEY)
XS = jax.random.normal(KEY, (6, 2, 3))


def same(a, b):
    return jax.tree.all(jax.tree.map(jnp.array_equal, a, b))


@pytest.mark.parametrize("remat", ["step", 4])
def test_no_steps_leave_nothing_to_remember(remat):
    final, outputs = lj.unroll(CELL, PARAMS, jnp.zeros((0, 2, 3)), remat=remat)
    assert outputs.shape == (0, 2, 5)
    assert same(final, CELL.initial_state((2,)))


def test_no_rows_are_unrolled_and_truncated_as_well():
    xs = jnp.zeros((4, 0, 3))
    assert lj.unroll(CELL, PARAMS, xs)[1].shape == (4, 0, 5)
    assert lj.tbptt(CELL, PARAMS, xs, k1=2, k2=3)[1].shape == (4, 0, 5)


def test_truncation_beyond_the_end_runs_no_more_steps_than_there_are():
    def steps(k1):
        return str(jax.make_jaxpr(lambda xs: lj.tbptt(CELL, PARAMS, xs, k1=k1))(XS))

    assert steps(2000) == steps(6)


def test_gradient_flow_takes_a_plain_state_and_a_bare_step():
    flow = lj.gradient_flow(CELL, PARAMS, XS, lambda hs: hs[-1].sum())
    plain = (jnp.zeros((2, 5)), np.zeros((2, 5), np.float32))
    for cell in (CELL, lj.lstm_step):
        again = lj.gradient_flow(cell, PARAMS, XS, lambda hs: hs[-1].sum(), plain)
        for a, b in zip(again, flow, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.slow
def test_a_state_in_numpy_goes_through_connections_around_a_cell():
    cell = lj.residual(lj.LSTM(3, 3))
    params, state = cell.init(KEY), lj.LSTMState(*np.ones((2, 2, 3), np.float32))
    lengths = jnp.array([6, 0])
    _, outputs = lj.unroll(cell, params, XS, state, lengths=lengths, padding="hold")
    assert jnp.array_equal(outputs[:, 1], jnp.ones((6, 3)))
    _, again = lj.tbptt(cell, params, XS, state, k1=2, lengths=lengths, padding="hold")
    np.testing.assert_allclose(again, outputs, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_a_masked_row_is_held_to_the_last_digit_in_parallel_too():
    cell = lj.MinLSTM(3, 5)
    params, third = cell.init(KEY), (jnp.full((2, 5), 1 / 3),)
    for implementation in ("scan", "parallel"):
        mask = jnp.zeros((6, 2), bool)
        (h,), _ = lj.unroll(cell, params, XS, third, mask=mask, implementation=implementation)
        assert jnp.array_equal(h, third[0])


def test_a_stream_starts_where_the_sequence_does():
    cell = lj.learned_initial_state(CELL)
    params = cell.init(KEY)
    params = params._replace(state=jax.tree.map(lambda s: s + 0.5, params.state))
    state, ys = None, []
    for x in XS:
        state, y = lj.advance(cell, params, state, x)
        ys.append(y)
    np.testing.assert_allclose(jnp.stack(ys), lj.unroll(cell, params, XS)[1], atol=1e-6)


@pytest.mark.parametrize("reset_after", [True, False])
def test_recurrent_dropout_of_a_gru_drops_what_gates_read_and_not_what_it_carries(reset_after):
    cell = lj.GRU(3, 8, reset_after=reset_after, bias_init=ForgetBias(3.0, gate=1, gates=3))
    dropped = lj.recurrent_dropout(cell, 0.25)
    params, xs = cell.init(KEY), jax.random.normal(KEY, (400, 3))
    _, hs = lj.unroll(dropped, params, xs, key=KEY)
    assert jnp.abs(hs).max() <= 1  # a mean of what was and of what tanh gives

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
        runs = [lj.unroll(both, params, xs, key=k)[1] for k in (None, KEY)]
        assert jnp.isfinite(runs[1]).all()
        assert not jnp.allclose(*runs)


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


def test_what_is_held_and_cut_outside_of_jit_is_compiled_once(caplog):
    cell = lj.bidirectional(CELL)
    params, reset = cell.init(KEY), jnp.zeros((6, 2), bool)

    def run():
        lengths = jnp.array([3, 6])
        return lj.unroll(cell, params, XS, lengths=lengths, reset=reset, padding="hold")

    with jax.log_compiles():
        run()
        caplog.clear()
        run()
    assert [r.message for r in caplog.records if "Compiling" in r.message] == []


class Halved(lj.MinLSTM):
    """Its coefficients are not those of its step."""

    def step(self, params, state, x):
        return lj.MinLSTM(2, 3).step(params, state, x)

    def coefficients(self, params, x):
        a, b = super().coefficients(params, x)
        return a / 2, b


@pytest.mark.slow
def test_coefficients_that_are_not_those_of_the_step_are_found():
    with pytest.raises(AssertionError, match="all steps at once"):
        check_cell(Halved(2, 3))


def make_step_in_a_transform():
    class Negative(lj.Transform):
        def step(self, params, state, x, rng=None):
            return state


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            make_step_in_a_transform,
            "Negative: a Transform says what it changes in apply, not in step; or derive from"
            " StateTransform",
        ),
        (
            lambda: lj.recurrent_dropout(lj.MinLSTM(3, 5), 0.5),
            "recurrent_dropout: cell must have memory besides h, or a step with the keyword"
            " on_recurrent; got MinLSTM(input_size=3, hidden_size=5)",
        ),
        (
            lambda: lj.advance(lj.lstm_step, PARAMS, None, XS[0]),
            "advance: cell must have init, initial_state and step; got function",
        ),
        (
            lambda: lj.advance(CELL, PARAMS, None, XS[0], key=jax.random.PRNGKey(0)),
            "advance: key must be made by jax.random.key; got Array([0, 0], dtype=uint32)",
        ),
        (
            lambda: lj.unroll(CELL, PARAMS, XS, key=jax.random.split(KEY)),
            "unroll: key must be a single key; got keys of shape (2,)",
        ),
        (
            lambda: lj.unroll(CELL, PARAMS, XS, start=1.5),
            "unroll: start must be an integer; got 1.5",
        ),
        (
            lambda: lj.unroll(CELL, PARAMS, XS, unroll=2.5),
            "unroll: unroll must be an integer; got 2.5",
        ),
    ],
)
def test_wrong_calls(call, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        call()
