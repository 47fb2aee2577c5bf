"""Layers and models of Keras as objects: how they are set, and which layers a model has."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.convert import cell_of, keras
from lstm_jax.convert.keras_activations import ACTIVATIONS
from lstm_jax.convert.keras_layers import WITHOUT_EFFECT
from tests.helpers.conversions import identical, vector
from tests.helpers.keras_objects import (
    around,
    bidirectional,
    call,
    cell,
    chain,
    functional,
    layer,
    make,
    sequential,
    stacked,
)

LSTM = vector("keras", "one").weights
BOTH, UPPER = vector("keras", "two_layers").weights
GRU = vector("keras", "gru").weights[1]  # reads 8 features
SIMPLE = vector("keras", "rnn").weights[:3]
LOWER = bidirectional(layer("LSTM", BOTH[:3]), layer("LSTM", BOTH[3:], go_backwards=True))


def test_a_layer_is_its_weights():
    for kind, weights in (("LSTM", LSTM), ("GRU", GRU), ("SimpleRNN", SIMPLE)):
        params = keras.to_params(weights)
        for theirs in (
            layer(kind, weights),
            cell(f"{kind}Cell", weights),
            around(cell(f"{kind}Cell", weights)),
        ):
            assert identical(keras.to_params(theirs), params)
            found, again = keras.to_cell(theirs)
            assert found == cell_of(params)
            assert identical(again, params)
    assert identical(keras.to_params(LOWER), keras.to_params(BOTH))


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_layer_tells_when_a_gru_without_bias_resets(reset_after):
    params = keras.to_params(layer("GRU", GRU[:2], reset_after=reset_after))
    assert cell_of(params) == lj.GRU(8, 4, reset_after=reset_after)
    assert identical(params, keras.to_params(GRU[:2], reset_after=reset_after))


@pytest.mark.parametrize(
    ("theirs", "expected", "changed"),
    [
        (
            layer("LSTM", LSTM, activation="relu", recurrent_activation="hard_sigmoid"),
            lj.LSTM(3, 4, activation=jax.nn.relu, gate_activation=jax.nn.hard_sigmoid),
            "lstm of LSTM has activation='relu', recurrent_activation='hard_sigmoid'",
        ),
        (
            layer("SimpleRNN", SIMPLE, activation="relu"),
            lj.TanhRNN(3, 4, activation=jax.nn.relu),
            "simplernn of SimpleRNN has activation='relu'",
        ),
        (
            layer("GRU", GRU, recurrent_activation="softsign"),
            lj.GRU(8, 4, gate_activation=jax.nn.soft_sign),
            "gru of GRU has recurrent_activation='softsign'",
        ),
        (
            around(cell("LSTMCell", LSTM, activation="elu")),
            lj.LSTM(3, 4, activation=jax.nn.elu),
            "rnn of RNN has activation='elu'",
        ),
        (
            bidirectional(
                layer("LSTM", BOTH[:3]),
                layer("LSTM", BOTH[3:], go_backwards=True, activation="elu"),
                merge_mode="mul",
            ),
            lj.bidirectional(lj.LSTM(3, 4), lj.LSTM(3, 4, activation=jax.nn.elu), merge="multiply"),
            "bidirectional of Bidirectional has activation='elu', merge_mode='mul'",
        ),
    ],
)
def test_to_cell_has_the_settings_of_a_layer_and_to_params_refuses_it(theirs, expected, changed):
    found, params = keras.to_cell(theirs)
    assert found == expected
    assert identical(params, keras.to_params(theirs.get_weights()))
    message = f"keras.to_params: {changed}, which cell_of does not know: call to_cell"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        keras.to_params(theirs)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        keras.to_params([theirs])


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("concat", "concat"), ("sum", "sum"), ("mul", "multiply"), ("ave", "mean"), (None, "none")],
)
def test_every_way_to_merge(theirs, ours):
    found, params = keras.to_cell(bidirectional(LOWER.forward_layer, LOWER.backward_layer, theirs))
    assert found.merge == ours
    _, outputs = lj.unroll(found, params, jnp.ones((5, 2, 3)))
    assert jax.tree.leaves(outputs)[0].shape == (5, 2, 8 if ours == "concat" else 4)


def test_the_sizes_of_layers_above_a_sum_are_checked():
    summed = bidirectional(LOWER.forward_layer, LOWER.backward_layer, "sum")
    upper = layer("LSTM", [np.ones((4, 8)), np.ones((2, 8))])
    found, params = keras.to_cell(sequential(summed, upper))
    assert found.cells[1] == lj.LSTM(4, 2)
    assert lj.unroll(found, params, jnp.ones((5, 3)))[1].shape == (5, 2)
    assert jax.tree.map(jnp.shape, keras.from_params(params)[1]) == [(4, 8), (2, 8), (8,)]
    with pytest.raises(ValueError, match=r"layer 2 must have 4 input features, .*; got 8"):
        keras.to_cell(sequential(summed, layer("LSTM", UPPER)))
    with pytest.raises(ValueError, match="layer 2 must have 8 or 4 input features"):
        keras.from_params((params[0], keras.to_params(LSTM)))


def test_a_model_is_the_chain_of_its_recurrent_layers():
    upper = layer("LSTM", UPPER)
    expected = keras.to_params([BOTH, UPPER])
    linear = make("Activation", get_config=lambda: {"activation": "linear"})
    others = [make(kind) for kind in WITHOUT_EFFECT]
    for model in (
        sequential(LOWER, upper),
        sequential(*others, LOWER, linear, sequential(upper), make("Dropout")),
        chain(LOWER, upper),
        chain(make("Masking"), LOWER, make("Dropout"), chain(upper, linear)),
        [LOWER, make("Dropout"), UPPER],
    ):
        assert identical(keras.to_params(model), expected)
        assert identical(keras.to_params([model]), expected)
        assert keras.to_cell(model)[0] == cell_of(expected)
    for empty in (sequential(), sequential(make("Dropout")), make("Dropout")):
        with pytest.raises(ValueError, match=r"keras\.to_params: at least one layer is needed"):
            keras.to_params(empty)


def test_a_model_of_two_layers_is_not_read_as_bidirectional():
    square = [array[:4] for array in LSTM[:1]] + LSTM[1:]
    square[0] = LSTM[1]  # as many input features as units
    lower, upper = layer("LSTM", square), layer("LSTM", square)
    assert keras.to_cell(sequential(lower, upper))[0] == lj.stack(lj.LSTM(4, 4), lj.LSTM(4, 4))
    assert type(keras.to_params(sequential(lower))) is tuple


def test_stacked_cells_are_a_stack():
    upper = [np.ones((4, 12)), np.ones((4, 12)), np.ones((2, 12))]
    theirs = around(stacked(cell("LSTMCell", LSTM), cell("GRUCell", upper, reset_after=True)))
    found, params = keras.to_cell(theirs)
    assert found == lj.stack(lj.LSTM(3, 4), lj.GRU(4, 4))
    assert identical(params, keras.to_params([LSTM, upper]))


def two_outputs():
    (x,) = call(make("InputLayer"))
    (lower,) = call(LOWER, x)
    (upper,) = call(layer("LSTM", UPPER), lower)
    return functional(lower, upper)


def two_inputs(*, state=False):
    (x,) = call(make("InputLayer"))
    if not state:
        return functional(*call(make("Add"), x, x))
    _, h = call(layer("LSTM", LSTM), x, outputs=2)
    return functional(*call(layer("LSTM", UPPER), h))


def test_the_states_that_the_last_layer_of_a_model_returns():
    (x,) = call(make("InputLayer"))
    model = functional(*call(layer("LSTM", LSTM), x, outputs=3))
    assert identical(keras.to_params(model)[0], keras.to_params(LSTM))


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (make("Dense"), "dense of Dense is no LSTM, GRU, SimpleRNN, or Bidirectional of these: "),
        (sequential(layer("LSTM", LSTM), make("TimeDistributed")), "of TimeDistributed is no LSTM"),
        (chain(make("Embedding"), layer("LSTM", LSTM)), "embedding of Embedding is no LSTM"),
        (
            make("Activation", get_config=lambda: {"activation": "relu"}),
            "activation of Activation is no",
        ),
        (layer("ConvLSTM2D", LSTM), "of ConvLSTM2D is no LSTM"),
        (layer("LSTM", LSTM, go_backwards=True), "has go_backwards=True, which no cell has: pass"),
        (
            bidirectional(LOWER.backward_layer, LOWER.forward_layer),
            "lstm of LSTM has go_backwards=True",
        ),
        (around(make("MyCell")), "the cell of rnn of RNN must be one of LSTMCell, GRUCell,"),
        (bidirectional(make("Dense"), LOWER.backward_layer), "both layers of a Bidirectional must"),
        (
            bidirectional(
                around(stacked(cell("LSTMCell", LSTM), cell("LSTMCell", LSTM))),
                LOWER.backward_layer,
            ),
            "is a Bidirectional of stacked cells",
        ),
        (layer("LSTM", LSTM, activation={"class_name": "function"}), "activation of lstm of LSTM"),
        (layer("LSTM", LSTM, activation="rleu"), "got 'rleu'; did you mean relu?"),
        (layer("LSTM", []), "lstm of LSTM has no weights: build the layer first"),
        (two_outputs(), "must form a chain, but it has outputs of 2 layers: pass a list of"),
        (two_inputs(), "must form a chain, but add of Add reads more than one output"),
        (two_inputs(state=True), "but lstm of LSTM reads more than one output"),
        (make("Model", layers=[LOWER]), "but only Sequential and functional models tell"),
    ],
)
def test_other_layers_and_models_are_refused(theirs, message):
    with pytest.raises(ValueError, match=f"^keras.to_cell: .*{re.escape(message)}"):
        keras.to_cell(theirs)


def test_activations_are_those_of_keras_where_jax_has_other_defaults():
    x = jnp.array([-2.0, -0.5, 1.0])
    np.testing.assert_allclose(ACTIVATIONS["leaky_relu"](x), [-0.4, -0.1, 1.0], rtol=1e-6)
    exact = [-2 * 0.02275013, -0.5 * 0.30853754, 0.84134475]
    np.testing.assert_allclose(ACTIVATIONS["gelu"](x), exact, rtol=1e-5)
    np.testing.assert_allclose(ACTIVATIONS["hard_sigmoid"](x), (x + 3) / 6, rtol=1e-6)
    np.testing.assert_allclose(ACTIVATIONS["tanh_shrink"](x), x - np.tanh(x), rtol=1e-5)
    assert ACTIVATIONS["linear"](x) is x
