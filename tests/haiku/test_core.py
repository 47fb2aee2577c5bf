"""A step as a Haiku core, in Haiku's own loops and around Haiku's own cells."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax import convert
from lstm_jax.haiku import Recurrent, RNNCore, haiku_params, params_of
from lstm_jax.testing import quick_jit
from tests.helpers.flax_peer import close
from tests.helpers.toys import Sum, slow_case

KEY = jax.random.key(0)
XS = jax.random.normal(jax.random.key(1), (7, 2, 3))
UNROLLS = {
    "dynamic": hk.dynamic_unroll,
    "static": hk.static_unroll,
    "reversed": functools.partial(hk.dynamic_unroll, reverse=True),
}


def unrolled(make_core, unroll=hk.dynamic_unroll):
    """A core over a sequence in a transformed function."""

    def network(xs):
        core = make_core()
        return unroll(core, xs, core.initial_state(xs.shape[1]))

    return hk.transform(network)


@pytest.mark.parametrize(
    ("name", "unroll"),
    [
        ("lstm", "dynamic"),
        ("gru", "static"),
        slow_case("lstm", "static"),
        slow_case("gru", "dynamic"),
        slow_case("lstm", "reversed"),
        slow_case("gru", "reversed"),
    ],
)
def test_outputs_state_and_gradients_are_those_of_haiku(name, unroll):
    theirs = unrolled(lambda: {"lstm": hk.LSTM, "gru": hk.GRU}[name](5), UNROLLS[unroll])
    weights = theirs.init(KEY, XS)
    weights = jax.tree.map(lambda w: w + 0.1, weights)  # no bias of zero
    cell = {"lstm": lj.LSTM(3, 5), "gru": lj.GRU(3, 5, reset_after=False)}[name]
    params = convert.haiku.to_params(weights)
    ours = unrolled(lambda: RNNCore(cell), UNROLLS[unroll])

    def results(model, params):
        def loss(xs):
            outputs, state = model.apply(params, None, xs)
            return jnp.sin(outputs).sum(), (outputs, state)

        return quick_jit(jax.grad(loss, has_aux=True))(XS)

    close(results(ours, haiku_params(params, "rnn_core")), results(theirs, weights))


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        (lj.LSTM(3, 5), ["kernel", "recurrent_kernel", "bias"]),
        (
            lj.stack(lj.TanhRNN(3, 4), lj.GRU(4, 5)),
            ["layers_0/kernel", "layers_0/recurrent_kernel", "layers_0/bias", "layers_1/kernel",
             "layers_1/recurrent_kernel", "layers_1/bias", "layers_1/recurrent_bias"],
        ),
    ],
    ids=["lstm", "stack"],
)  # fmt: skip
def test_parameters_are_those_that_the_cell_draws(cell, names):
    model = unrolled(lambda: RNNCore(cell, name="memory"))
    params = model.init(KEY, XS)
    assert [*params] == ["memory"]
    assert [*params["memory"]] == names
    drawn = hk.transform(lambda: cell.init(hk.next_rng_key())).apply({}, KEY)
    jax.tree.map(np.testing.assert_array_equal, params_of(cell, params, "memory"), drawn)
    jax.tree.map(np.testing.assert_array_equal, haiku_params(drawn, "memory"), params)
    outputs, state = model.apply(params, None, XS)
    final, expected = lj.unroll(cell, drawn, XS)
    close(outputs, expected)
    close(state, final)
    assert jax.tree.structure(state) == jax.tree.structure(final)


def test_raw_keys_are_taken():
    params = unrolled(lambda: RNNCore(lj.LSTM(3, 5))).init(jax.random.PRNGKey(0), XS)
    assert params["rnn_core"]["kernel"].shape == (3, 20)


def test_cores_of_both_libraries_in_a_deep_rnn():
    def network(xs):
        parts = [RNNCore(lj.GRU(3, 4)), jax.nn.relu, hk.LSTM(5), RNNCore(lj.LSTM(5, 2))]
        core = hk.DeepRNN(parts)
        return hk.dynamic_unroll(core, xs, core.initial_state(2))

    model = hk.transform(network)
    params = model.init(KEY, XS)
    outputs, states = model.apply(params, None, XS)
    assert [jax.tree.map(jnp.shape, state)[0] for state in states] == [(2, 4), (2, 5), (2, 2)]
    gru, lstm = lj.GRU(3, 4), lj.LSTM(5, 2)
    _, hs = lj.unroll(gru, params_of(gru, params, "rnn_core"), XS)
    middle = convert.haiku.to_params(params["lstm/linear"])
    _, hs = lj.unroll(lj.LSTM(4, 5), middle, jax.nn.relu(hs))
    _, hs = lj.unroll(lstm, params_of(lstm, params, "rnn_core_1"), hs)
    close(outputs, hs)


@pytest.mark.parametrize("learned", [True, slow_case(False)])
def test_reset_core_resets_to_the_initial_state(learned):
    cell = lj.learned_initial_state(lj.LSTM(3, 5)) if learned else lj.LSTM(3, 5)
    reset = jax.random.bernoulli(KEY, 0.3, XS.shape[:2])

    def network(xs, reset):
        core = hk.ResetCore(RNNCore(cell))
        return hk.dynamic_unroll(core, (xs, reset), core.initial_state(2))

    model = hk.transform(network)
    params = jax.tree.map(lambda leaf: leaf + 0.1, model.init(KEY, XS, reset))

    def loss(params):
        return jnp.sin(model.apply(params, None, XS, reset)[0]).sum()

    def expected(params):
        return jnp.sin(lj.unroll(cell, params, XS, reset=reset)[1]).sum()

    ours = params_of(cell, params, "rnn_core")
    got, grads = quick_jit(jax.value_and_grad(loss))(params)
    wanted, wanted_grads = quick_jit(jax.value_and_grad(expected))(ours)
    close(got, wanted)
    close(params_of(cell, grads, "rnn_core"), wanted_grads)


def test_an_initial_state_needs_parameters_only_if_it_is_learned():
    def network(rows, cell):
        return RNNCore(cell).initial_state(rows)

    model = hk.transform(network)
    plain = lj.stack(lj.LSTM(3, 5), lj.GRU(5, 4))
    (lstm, gru) = model.apply({}, None, 2, plain)
    assert (lstm.c.shape, jax.tree.leaves(gru)[0].shape) == ((2, 5), (2, 4))
    assert model.apply({}, None, None, plain)[0].h.shape == (5,)
    with pytest.raises(ValueError, match="Unable to retrieve parameter"):
        model.apply({}, None, 2, lj.learned_initial_state(plain))
    params = model.init(KEY, 2, lj.learned_initial_state(plain))
    assert "layers_0/state/c" in params["rnn_core"]


def test_the_state_keeps_its_structure():
    core = hk.transform(lambda xs, state: RNNCore(lj.LSTM(3, 5))(xs, state))
    zeros = jnp.zeros((2, 5))
    state = hk.LSTMState(zeros, zeros)
    params = core.init(KEY, XS[0], state)
    y, new = core.apply(params, None, XS[0], state)
    assert type(new) is hk.LSTMState
    np.testing.assert_array_equal(new.hidden, y)


def test_a_batch_may_have_several_axes():
    def rows(batch_size):
        model = hk.transform(lambda: RNNCore(lj.GRU(3, 5)).initial_state(batch_size))
        return jax.tree.leaves(model.apply({}, None))[0].shape

    shapes = {2: (2, 5), (2,): (2, 5), (2, 4): (2, 4, 5), (): (5,), np.int32(3): (3, 5)}
    assert {size: rows(size) for size in shapes} == shapes
    for wrong in ("two", 2.0, (2, None)):
        with pytest.raises(TypeError, match=r"^RNNCore.initial_state: batch_size must be an int"):
            rows(wrong)
    with pytest.raises(ValueError, match=r"^RNNCore.initial_state: .* negative; got -1"):
        rows(-1)


def test_the_state_of_a_gru_may_be_an_array_as_in_haiku():
    core = hk.transform(lambda xs, state: hk.dynamic_unroll(RNNCore(lj.GRU(3, 5)), xs, state))
    state = jnp.ones((2, 5))
    params = core.init(KEY, XS, state)
    outputs, new = core.apply(params, None, XS, state)
    np.testing.assert_array_equal(new, outputs[-1])
    layer = hk.transform(lambda xs, state: Recurrent(lj.GRU(3, 5), name="rnn_core")(xs, state))
    _, last = layer.apply(params, None, XS, state)
    assert last.shape == (2, 5)
    close(last, new)


def test_each_step_draws_its_own_numbers_from_the_key_of_apply():
    cell, xs = lj.dropout(Sum(input_size=50), 0.5), jnp.ones((7, 2, 50))
    model = unrolled(lambda: RNNCore(cell))
    ys, _ = model.apply({}, jax.random.key(2), xs)
    kept = jnp.diff(ys, axis=0) != 0
    assert 0.4 < kept.mean() < 0.6
    assert (kept[1:] != kept[:-1]).any(axis=(1, 2)).all()
    still, _ = unrolled(lambda: RNNCore(cell, deterministic=True)).apply({}, None, xs)
    close(still, jnp.cumsum(xs, axis=0))
    with pytest.raises(ValueError, match="non-None PRNGKey"):
        model.apply({}, None, xs)


def test_a_core_needs_a_cell():
    with pytest.raises(TypeError, match=r"^RNNCore: "):
        unrolled(lambda: RNNCore(functools.partial(lj.LSTM, hidden_size=5))).init(KEY, XS)


def test_an_unknown_argument_is_named_with_the_nearest():
    with pytest.raises(TypeError, match=r"^RNNCore: there is no argument nome; did you mean name"):
        unrolled(lambda: RNNCore(lj.LSTM(3, 5), nome="a")).init(KEY, XS)
    shown = hk.transform(lambda: repr(RNNCore(lj.LSTM(3, 5)))).apply({}, None)
    assert shown == "RNNCore(LSTM(input_size=3, hidden_size=5))"


def test_wrong_parameters_are_refused():
    cell = lj.LSTM(3, 5)
    params = haiku_params(cell.init(KEY), "rnn_core")
    with pytest.raises(ValueError, match="params_of: params have no module 'rnn_cor'; did you"):
        params_of(cell, params, "rnn_cor")
    with pytest.raises(ValueError, match="params_of: kernel must have shape"):
        params_of(lj.LSTM(4, 5), params, "rnn_core")
    with pytest.raises(ValueError, match="'rnn_core/kernel' with retrieved shape"):
        unrolled(lambda: RNNCore(lj.LSTM(4, 5))).apply(params, None, jnp.ones((7, 2, 4)))
