"""`lstm_jax.unroll` as a Haiku module."""

import functools
import inspect

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.haiku import Recurrent, RNNCore, haiku_params
from tests.helpers.flax_peer import close
from tests.helpers.toys import Sum

KEY = jax.random.key(0)
XS = jax.random.normal(jax.random.key(1), (7, 2, 3))
CELL = lj.LSTM(3, 5)
PARAMS = CELL.init(KEY)
LENGTHS = jnp.array([7, 3])
RESET = jax.random.bernoulli(jax.random.key(3), 0.4, (7, 2))


def recurrent(cell=CELL, **fields):
    return hk.transform(lambda *args, **call: Recurrent(cell, **fields)(*args, **call))


@pytest.mark.parametrize(
    ("fields", "call"),
    [
        ({}, {}),
        ({"reverse": True}, {"lengths": LENGTHS}),
        ({"padding": "hold"}, {"mask": ~RESET}),
        ({"remat": "step", "implementation": "scan", "unroll": 2}, {"reset": RESET}),
    ],
    ids=["plain", "reverse and lengths", "padding and mask", "options and reset"],
)
def test_outputs_and_state_are_those_of_unroll(fields, call):
    state = jax.tree.map(jnp.ones_like, CELL.initial_state((2,)))
    final, expected = lj.unroll(CELL, PARAMS, XS, state, **fields, **call)
    weights = haiku_params(PARAMS, "recurrent")
    call = {"seq_lengths" if name == "lengths" else name: value for name, value in call.items()}
    outputs, got = recurrent(**fields).apply(weights, None, XS, state, **call)
    close(outputs, expected)
    close(got, final)

    flipped = {name: value if name == "seq_lengths" else value.T for name, value in call.items()}
    batch_major = recurrent(time_major=False, **fields)
    outputs, got = batch_major.apply(weights, None, XS.swapaxes(0, 1), state, **flipped)
    close(outputs.swapaxes(0, 1), expected)
    close(got, final)


def test_it_replaces_the_loop_of_haiku():
    def loop(xs, reverse):
        core = RNNCore(CELL, name="memory")
        return hk.dynamic_unroll(core, xs, core.initial_state(2), reverse=reverse)

    for reverse in (False, True):
        loops = hk.transform(functools.partial(loop, reverse=reverse))
        params = loops.init(KEY, XS)
        layer = recurrent(reverse=reverse, name="memory")
        assert jax.tree.map(jnp.shape, layer.init(KEY, XS)) == jax.tree.map(jnp.shape, params)
        close(layer.apply(params, None, XS), loops.apply(params, None, XS))


def test_a_function_makes_the_cell_for_the_inputs():
    params = recurrent(functools.partial(lj.GRU, hidden_size=5)).init(KEY, XS)
    assert params["recurrent"]["kernel"].shape == (3, 15)
    with pytest.raises(TypeError, match=r"^Recurrent: "):
        recurrent(lj.GRU).init(KEY, XS)


def test_chunks_draw_the_numbers_of_the_whole():
    cell = lj.dropout(lj.dropout(Sum(input_size=3), 0.3), 0.5, variational=True)
    model, key = recurrent(cell), jax.random.key(4)
    outputs, _ = model.apply({}, key, XS)
    first, state = model.apply({}, key, XS[:3])
    second, _ = model.apply({}, key, XS[3:], state, start=3)
    np.testing.assert_array_equal(jnp.concatenate([first, second]), outputs)
    assert (jnp.diff(outputs, axis=0) == 0).any()
    still, _ = recurrent(cell, deterministic=True).apply({}, None, XS)
    close(still, jnp.cumsum(XS, axis=0))


def test_dones_as_floats_reset():
    weights = haiku_params(PARAMS, "recurrent")
    model = recurrent()
    got, _ = model.apply(weights, None, XS, reset=RESET.astype(jnp.float32))
    np.testing.assert_array_equal(got, model.apply(weights, None, XS, reset=RESET)[0])


def test_options_are_checked_and_listed():
    assert {*lj.Options.__dataclass_fields__} <= {*inspect.signature(Recurrent).parameters}
    for wrong, meant in {"remaat": "remat", "time_mayor": "time_major"}.items():
        message = f"^Recurrent: there is no argument {wrong}; did you mean {meant}"
        with pytest.raises(TypeError, match=message):
            recurrent(**{wrong: 2}).init(KEY, XS)
    with pytest.raises(ValueError, match="Recurrent: padding must be one of"):
        recurrent(padding="none").init(KEY, XS)
    with pytest.raises(ValueError, match="Recurrent: inputs must have axes"):
        recurrent().init(KEY, XS[0, 0])


def test_the_state_keeps_its_form():
    weights, zeros = haiku_params(PARAMS, "recurrent"), jnp.zeros((2, 5))
    outputs, expected = recurrent().apply(weights, None, XS)
    for state in (hk.LSTMState(zeros, zeros), (zeros, zeros), [zeros, zeros]):
        outputs, final = recurrent().apply(weights, None, XS, state)
        assert type(final) is type(state)
        np.testing.assert_array_equal(final[0], outputs[-1])
        np.testing.assert_array_equal(final[1], expected.c)


def test_a_function_may_read_several_feature_axes():
    def cell(shape):
        return lj.ConvLSTM(shape, 2, kernel_size=3)

    grids = jnp.ones((2, 4, 5, 3))
    shapes = jax.eval_shape(recurrent(cell, feature_axes=2).init, KEY, grids)
    assert shapes["recurrent"]["kernel"].shape == (3, 3, 8)
    with pytest.raises(ValueError, match="Recurrent: inputs must have 5 feature axes"):
        recurrent(cell, feature_axes=5).init(KEY, grids)
