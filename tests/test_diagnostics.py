import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax import LSTM, LSTMParams, LSTMState, TanhRNN, gradient_flow, lstm_step, trace, unroll
from tests.helpers import reference

T, H = 6, 5


def draw(batch=()):
    arguments = reference.draw(3, H, batch, T)
    params, xs, state = jax.tree.map(jnp.asarray, arguments)
    return LSTM(3, H, dtype=jnp.float64), LSTMParams(*params), xs, LSTMState(*state)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("batch", [(), (2,)])
def test_traced_gates_give_the_traced_states_by_the_equations(batch):
    cell, params, xs, state = draw(batch)
    traced = trace(cell, params, xs, state)
    (i, f, g, o), (h, c) = (
        jax.tree.map(np.asarray, part) for part in (traced.gates, traced.states)
    )
    assert i.shape == f.shape == g.shape == o.shape == h.shape == c.shape == (T, *batch, H)
    c_before = np.concatenate([np.asarray(state.c)[None], c[:-1]])
    np.testing.assert_allclose(c, f * c_before + i * g, rtol=0, atol=1e-12)
    np.testing.assert_allclose(h, o * np.tanh(c), rtol=0, atol=1e-12)
    # Zeros would pass as well: compare with the states of the sequence.
    _, hs = reference.run(reference.weights_of(params), np.asarray(xs), *map(np.asarray, state))
    np.testing.assert_allclose(h, hs, rtol=0, atol=1e-12)


def test_trace_starts_from_the_cells_own_state_or_a_plain_one():
    cell = LSTM(3, H)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((T, 2, 3))
    traced = trace(cell, params, xs)
    assert jnp.allclose(traced.states.h, unroll(cell, params, xs)[1], rtol=0, atol=1e-6)
    plain = trace(cell, params, xs, (jnp.zeros((2, H)), jnp.zeros((2, H))))
    chex.assert_trees_all_equal(plain, traced)


@pytest.mark.parametrize("cell", [TanhRNN(3, H), lstm_step])
def test_trace_needs_a_cell_with_gates(cell):
    with pytest.raises(TypeError, match=r"trace: cell must have .* gates; got "):
        trace(cell, None, jnp.ones((T, 3)))


def test_trace_of_both_directions_is_a_trace_in_each():
    cell = lj.residual(lj.bidirectional(LSTM(3, 3), lj.GRU(3, 3), merge="sum"))
    params, xs = cell.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (T, 2, 3))
    lengths = jnp.array([T, 4])
    states, gates = trace(cell, params, xs, lengths=lengths)
    for inner, p, s, g, reverse in zip(
        cell.cell.children(), params, states, gates, (False, True), strict=True
    ):
        alone = trace(inner, p, xs, lengths=lengths, reverse=reverse)
        chex.assert_trees_all_equal((s, g), tuple(alone))
    assert jnp.any(gates.backward.r != 0)
    backwards = trace(cell, params, xs[::-1], reverse=True)
    chex.assert_trees_all_close(
        jax.tree.map(lambda leaf: leaf[::-1], backwards), trace(cell, params, xs)
    )


@pytest.mark.slow
def test_trace_of_layers_some_of_which_have_no_gates_or_need_the_whole_sequence():
    both = lj.bidirectional(lj.zoneout(LSTM(3, H), h=0.1))
    cell = lj.stack(both, TanhRNN(2 * H, 4), lj.skip(LSTM(4, 2)), dropout=0.5)
    params, xs = cell.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (T, 3))
    states, gates = trace(cell, params, xs)
    _, _, all_states = unroll(cell, params, xs, return_states=True)
    assert gates[1] is None
    assert gates[0].backward.f.shape == (T, H)
    assert gates[2].o.shape == (T, 2)
    assert jax.tree.structure(states) == jax.tree.structure(all_states)
    # The initial state comes first in the states of `unroll`, also where the direction is opposite.
    chex.assert_trees_all_close(
        states, jax.tree.map(lambda leaf: leaf[1:], all_states), rtol=0, atol=1e-6
    )


@pytest.mark.slow
def test_trace_of_a_cell_without_value_semantics():
    class Weighed(LSTM):  # not a dataclass itself: no value semantics
        def step(self, params, state, x):
            return super().step(params, state, weight * x)

    cell = Weighed(3, H)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((T, 3))
    for weight in (1.0, 2.0):
        expected = trace(LSTM(3, H), params, weight * xs).states.h
        np.testing.assert_allclose(trace(cell, params, xs).states.h, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "name"),
    [(trace, "trace"), (lambda *args: gradient_flow(*args, jnp.sum), "gradient_flow")],
)
def test_errors_name_the_function_that_was_called(function, name):
    with pytest.raises(ValueError, match=f"{name}: xs must have time as axis 0"):
        function(LSTM(3, H), None, jnp.float32(1.0))


def norms_by_jacobians(params, xs, h, c, direct):
    """``||dL/dh_t||, ||dL/dc_t||`` for ``L = sum(direct * hs)``, by a product of Jacobians.

    ``dL/ds_t = direct_t + J_{t+1}^T dL/ds_{t+1}``, each ``J`` a column at a time from NumPy.
    """
    w = reference.weights_of(params)
    jacobians = []
    for x in xs:

        def step(s, x=x):
            return np.concatenate(reference.step(w, s[:H], s[H:], x))

        s = np.concatenate([h, c])
        columns = [reference.derivative(step, (s,), (e,)) for e in np.eye(2 * H)]
        jacobians.append(np.stack(columns, axis=1))
        h, c = np.split(step(s), 2)
    flow = [np.concatenate([direct[-1], np.zeros(H)])]
    for jacobian, at_h in zip(jacobians[:0:-1], direct[-2::-1], strict=True):
        flow.append(jacobian.T @ flow[-1] + np.concatenate([at_h, np.zeros(H)]))
    flow = np.stack(flow[::-1])
    return np.linalg.norm(flow[:, :H], axis=1), np.linalg.norm(flow[:, H:], axis=1)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("where", ["the last step", "every step"])
def test_gradient_flow_is_the_product_of_jacobians(where):
    cell, params, xs, state = draw((2,))
    direct = np.random.default_rng(1).standard_normal((T, 2, H))
    if where == "the last step":
        direct[:-1] = 0.0
    flow = gradient_flow(cell, params, xs, lambda hs: jnp.sum(hs * direct), state)
    assert jax.tree.map(jnp.shape, flow) == LSTMState((T, 2), (T, 2))
    for row in range(2):
        alone = (np.asarray(a) for a in (xs[:, row], state.h[row], state.c[row], direct[:, row]))
        h_norms, c_norms = norms_by_jacobians(params, *alone)
        np.testing.assert_allclose(flow.h[:, row], h_norms, rtol=1e-11)
        np.testing.assert_allclose(flow.c[:, row], c_norms, rtol=1e-11, atol=1e-15)
        assert flow.c[-1, row] == 0.0
        assert np.all(c_norms[:-1] > 0)


@pytest.mark.usefixtures("x64")
def test_gradient_flow_of_a_linear_counter_by_hand():
    # s_t = s_{t-1} / 2 + x: from the last step back, the gradient halves each time.
    def leaky(params, state, x):
        return (state[0] / 2 + x,)

    (flow,) = gradient_flow(
        leaky, None, jnp.ones((4, 1)), lambda s: jnp.sum(3 * s[-1]), (jnp.zeros(1),)
    )
    np.testing.assert_allclose(flow, [3 / 8, 3 / 4, 3 / 2, 3.0])


def test_the_tanh_rnn_forgets_what_the_lstm_keeps():
    xs = 0.1 * jax.random.normal(jax.random.key(1), (60, 3))

    def reach(cell):
        flow = gradient_flow(cell, cell.init(jax.random.key(0)), xs, lambda hs: jnp.sum(hs[-1]))
        return flow[-1][0] / flow[-1][-2]  # of the memory: c for the LSTM, h for the other

    def shrunk(key, shape, dtype):
        return 0.8 * jnp.eye(*shape, dtype=dtype)

    def remembers(key, shape, dtype):
        return jnp.repeat(jnp.array([-5.0, 5.0, 0.0, 0.0], dtype), H)

    lstm = LSTM(3, H, bias_init=remembers)
    tanh = TanhRNN(3, H, recurrent_kernel_init=shrunk)
    assert reach(lstm) > 0.5
    assert reach(tanh) < 1e-4


def test_a_gradient_too_small_to_square_still_has_a_norm():
    cell = LSTM(3, H)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((T, 3))
    small = gradient_flow(cell, params, xs, lambda hs: 1e-30 * hs[-1].sum())
    full = gradient_flow(cell, params, xs, lambda hs: hs[-1].sum())
    assert float(small.h[0]) > 0
    np.testing.assert_allclose(small.h / 1e-30, full.h, rtol=1e-5)


def test_gradient_flow_with_a_plain_state_and_of_a_bare_step():
    cell, key = LSTM(3, H), jax.random.key(0)
    params, xs = cell.init(key), jax.random.normal(key, (6, 2, 3))
    flow = gradient_flow(cell, params, xs, lambda hs: hs[-1].sum())
    plain = (jnp.zeros((2, H)), np.zeros((2, H), np.float32))
    for each in (cell, lstm_step):
        again = gradient_flow(each, params, xs, lambda hs: hs[-1].sum(), plain)
        for a, b in zip(again, flow, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
