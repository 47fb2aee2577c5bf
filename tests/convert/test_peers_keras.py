"""Layers and models of Keras against the cells that are made of them; run with -m peers."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.convert import cell_of, keras
from lstm_jax.convert.keras_activations import ACTIVATIONS
from lstm_jax.convert.keras_layers import WITHOUT_EFFECT
from tests.golden.libraries import INPUTS, H

os.environ.setdefault("KERAS_BACKEND", "jax")

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

XS = np.random.default_rng(1).normal(size=(6, 3, INPUTS)).astype(np.float32)


def layers():
    import keras as library

    return library.layers


def perturbed(layer):
    """Add noise to the weights of a built layer or model, so that none is zero."""
    random = np.random.default_rng(0)
    layer.set_weights(
        [w + random.normal(0, 0.3, w.shape).astype(w.dtype) for w in layer.get_weights()]
    )
    return layer


def built(layer):
    layer.build((None, None, INPUTS))
    return perturbed(layer)


def check(theirs, xs=XS, **options):
    """Check that the cell of a layer gives its outputs."""
    cell, params = keras.to_cell(theirs)
    _, outputs = lj.unroll(cell, params, xs, **options)
    expected = theirs(np.swapaxes(xs, 0, 1), training=False)
    pairs = zip(jax.tree.leaves(outputs), jax.tree.leaves(expected), strict=True)
    for ours, each in pairs:
        each = np.swapaxes(np.asarray(each), 0, 1)
        np.testing.assert_allclose(ours, each, rtol=0, atol=1e-6 * max(1, np.abs(each).max()))
    return cell


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_keras(name):
    import keras as library

    x = jnp.linspace(-8, 8, 101)
    expected = library.activations.get(name)(x)
    np.testing.assert_allclose(ACTIVATIONS[name](x), expected, rtol=1e-6, atol=1e-6)


def test_the_activations_of_keras_that_are_missing_are_not_elementwise_or_have_jumps():
    from keras.src.activations import ALL_OBJECTS_DICT

    missing = {"softmax", "log_softmax", "glu", "sparsemax", "threshold", "hard_shrink"}
    assert ALL_OBJECTS_DICT.keys() - ACTIVATIONS.keys() == missing | {
        "soft_shrink",
        "sparse_sigmoid",
    }


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize("activation", ["relu", "hard_sigmoid", "gelu", "linear", "softsign"])
def test_layers_with_other_activations(kind, activation):
    settings = {} if kind == "SimpleRNN" else {"recurrent_activation": "hard_sigmoid"}
    layer = getattr(layers(), kind)(H, activation=activation, return_sequences=True, **settings)
    check(built(layer))
    with pytest.raises(ValueError, match=f"has activation='{activation}'"):
        keras.to_params(layer)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None])
def test_every_way_to_merge(kind, merge):
    layer = getattr(layers(), kind)(H, return_sequences=True, activation="elu")
    check(built(layers().Bidirectional(layer, merge_mode=merge)))


def test_a_bidirectional_of_two_different_layers():
    both = layers().Bidirectional(
        layers().LSTM(H, return_sequences=True),
        backward_layer=layers().GRU(2, return_sequences=True, go_backwards=True, unroll=True),
    )
    check(built(both))


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": 0.5, "recurrent_dropout": 0.5},
        {"unroll": True},
        {"stateful": False, "use_bias": False, "reset_after": False},
        {"use_bias": False},
        {"reset_after": False},
        {"implementation": 1},
    ],
)
def test_settings_that_change_nothing_in_inference(settings):
    assert "activation" not in repr(
        check(built(layers().GRU(H, return_sequences=True, **settings)))
    )


def test_go_backwards_is_reverse_with_outputs_in_the_order_of_time():
    layer = built(layers().LSTM(H, return_sequences=True, go_backwards=True))
    with pytest.raises(ValueError, match=r"has go_backwards=True, .* reverse=True"):
        keras.to_cell(layer)
    params = keras.to_params(layer.get_weights())
    _, outputs = lj.unroll(cell_of(params), params, XS, reverse=True)
    theirs = np.swapaxes(np.asarray(layer(np.swapaxes(XS, 0, 1))), 0, 1)
    np.testing.assert_allclose(outputs[::-1], theirs, atol=1e-6)


def test_layers_around_cells():
    cells = layers().LSTMCell(H, activation="relu"), layers().GRUCell(2)
    check(built(layers().RNN(cells[0], return_sequences=True)))
    found = check(built(layers().RNN([*cells], return_sequences=True)))
    assert found == lj.stack(lj.LSTM(INPUTS, H, activation=jax.nn.relu), lj.GRU(H, 2))


def sequential():
    import keras as library

    L = layers()
    bidirectional = L.Bidirectional(L.LSTM(H, return_sequences=True), merge_mode="sum")
    body = [L.Masking(9.0), bidirectional, L.Dropout(0.5), L.GRU(2, return_sequences=True)]
    return library.Sequential([L.Input((None, INPUTS)), *body])


def functional():
    import keras as library

    L = layers()
    inputs = x = L.Input((None, INPUTS))
    for layer in sequential().layers:
        x = layer(x)
    x = L.Activation("linear")(L.GaussianNoise(0.1)(x))
    return library.Model(inputs, x)


def nested():
    import keras as library

    inputs = layers().Input((None, INPUTS))
    outer = library.Model(inputs, functional()(inputs))
    return library.Sequential([layers().Input((None, INPUTS)), outer])


@pytest.mark.parametrize("make", [sequential, functional, nested])
def test_models_and_their_files(tmp_path, make):
    import keras as library

    model = perturbed(make())
    cell = check(model)
    assert cell == lj.stack(lj.bidirectional(lj.LSTM(INPUTS, H), merge="sum"), lj.GRU(H, 2))
    path = tmp_path / "model.keras"
    model.save(path)
    assert check(library.saving.load_model(path)) == cell


def test_masked_steps_show_the_last_output_or_zero():
    xs = XS.copy()
    xs[2:4, 1] = xs[5, 2] = 0
    for zero, padding in ((False, "hold"), (True, "zero")):
        layer = built(layers().GRU(H, return_sequences=True, zero_output_for_mask=zero))
        cell, params = keras.to_cell(layer)
        mask = (xs != 0).any(axis=-1)
        _, outputs = lj.unroll(cell, params, xs, mask=mask, padding=padding)
        theirs = layer(np.swapaxes(xs, 0, 1), mask=mask.T)
        np.testing.assert_allclose(outputs, np.swapaxes(np.asarray(theirs), 0, 1), atol=1e-6)


def test_layers_without_effect_return_their_inputs():
    settings = {"Masking": (9.0,), "InputLayer": ((None, INPUTS),)}
    settings |= {"ActivityRegularization": (), "Identity": ()}
    x = jnp.ones((2, 5, INPUTS))
    for kind in WITHOUT_EFFECT:
        layer = getattr(layers(), kind)(*settings.get(kind, (0.5,)))
        assert not layer.get_weights()
        if kind != "InputLayer":
            np.testing.assert_array_equal(
                layer(x, training=False) if "Noise" in kind else layer(x), x
            )


def double(x):
    return 2 * x


def refused():
    import keras as library

    L = layers()
    inputs = L.Input((None, INPUTS))
    first = L.LSTM(H, return_sequences=True)(inputs)
    second = L.LSTM(H, return_sequences=True)(first)
    _, h, c = L.LSTM(H, return_state=True)(inputs)
    return {
        "must form a chain, but add of Add": library.Model(inputs, L.Add()([first, second])),
        r"add\w* of Add reads": library.Model(inputs, first + second),
        r"multiply\w* of Multiply is no": library.Model(inputs, 2 * first),
        "has outputs of 2 layers": library.Model(inputs, [first, second]),
        "reads more than one output": library.Model(
            inputs, L.LSTM(H)(inputs, initial_state=[h, c])
        ),
        "of Dense is no LSTM": library.Sequential([L.Input((None, INPUTS)), L.LSTM(H), L.Dense(1)]),
        "of ConvLSTM1D is no LSTM": L.ConvLSTM1D(2, 3),
        "of TimeDistributed is no": L.TimeDistributed(L.Dense(2)),
        "has no weights: build the layer first": L.LSTM(H),
        r"activation of .* must be one of": built(L.LSTM(H, activation=double)),
    }


@pytest.mark.parametrize(
    "message",
    [
        "must form a chain, but add of Add",
        r"add\w* of Add reads",
        r"multiply\w* of Multiply is no",
        "has outputs of 2 layers",
        "reads more than one output",
        "of Dense is no LSTM",
        "of ConvLSTM1D is no LSTM",
        "of TimeDistributed is no",
        "has no weights: build the layer first",
        r"activation of .* must be one of",
    ],
)
def test_other_layers_and_models_are_refused(message):
    with pytest.raises(ValueError, match=message):
        keras.to_cell(refused()[message])
