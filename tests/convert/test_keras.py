"""Conversion of Keras weights: round trips, layers and models, and errors."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import lstm_jax as lj
from lstm_jax.convert import keras
from tests.helpers.conversions import arrays_under, cases, identical, parameters, round_trip, vector


def weights(case="one"):
    return vector("keras", case).weights


@pytest.mark.parametrize("case", cases("keras"))
def test_round_trip_of_their_weights_is_exact(case):
    back = keras.from_params(keras.to_params(weights(case)), bias=case != "no_bias")
    assert identical(back, jax.tree.map(jnp.asarray, weights(case)))


@settings(max_examples=12)
@given(parameters())
def test_round_trip(params):
    assert identical(round_trip("keras", params), params)


def test_a_stack_of_one_layer_stays_one():
    params = keras.to_params([weights()])
    assert type(params) is tuple
    assert identical(params[0], keras.to_params(weights()))


class Layer:
    def __init__(self, weights, **attributes):
        self.get_weights = lambda: weights
        vars(self).update(attributes)


class Bidirectional(Layer):
    backward_layer = None


class Sequential(Layer):
    def __init__(self, *layers):
        every = [array for layer in layers for array in layer.get_weights()]
        super().__init__(every, layers=[*layers])


def test_layer_objects_are_converted_by_get_weights():
    both, one = weights("two_layers")
    assert identical(keras.to_params(Bidirectional(both)), keras.to_params(both))
    ours = keras.to_params([Bidirectional(both), Layer(one)])
    assert identical(ours, keras.to_params(weights("two_layers")))


def test_a_model_of_two_layers_is_not_read_as_bidirectional():
    lower = Layer([RECURRENT, RECURRENT, BIAS])  # as many input features as units
    upper = Layer([RECURRENT, RECURRENT, BIAS + 1])
    stacked = keras.to_params([lower, upper])
    assert type(stacked) is tuple
    for model in (Sequential(lower, upper), Sequential(Sequential(lower), upper)):
        assert identical(keras.to_params(model), stacked)
        assert identical(keras.to_params([model]), stacked)
    for model in (Layer(Sequential(lower, upper).get_weights()), Layer([]), Sequential(Layer([]))):
        with pytest.raises(ValueError, match=r"a Bidirectional 4 or 6; got [06] of Layer"):
            keras.to_params(model)
    with pytest.raises(ValueError, match=r"keras\.to_params: at least one layer is needed"):
        keras.to_params(Sequential())


def test_params_are_copies_of_their_arrays():
    theirs = [array.copy() for array in weights()]
    params = keras.to_params(theirs)
    for array in theirs:
        array[...] = 0
    assert identical(params, keras.to_params(weights()))


KERNEL, RECURRENT, BIAS = weights()


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ([], "an LSTM has 2 or 3 arrays, a Bidirectional 4 or 6; got 0"),
        ([KERNEL] * 5, "a Bidirectional 4 or 6; got 5"),
        ([[KERNEL, RECURRENT, BIAS], []], "4 or 6; got 0"),
        ([KERNEL, RECURRENT, BIAS[:-1]], "bias must have shape [4H] = (16,); got (15,)"),
        ([RECURRENT, KERNEL, BIAS], "kernel must have shape [I, 4H] = (4, 12); got (4, 16)"),
        ([KERNEL, RECURRENT.T, BIAS], "kernel must have shape [I, 4H] = (3, 64)"),
        ([KERNEL[0], RECURRENT], "kernel must have shape [I, 4H]"),
        (
            [KERNEL, RECURRENT, BIAS, KERNEL, RECURRENT, BIAS[1:]],
            "backward bias must have shape [4H] = (16,); got (15,)",
        ),
        (
            [KERNEL, RECURRENT, BIAS, RECURRENT, RECURRENT, BIAS],
            "both directions must have the same input features; got [3, 4]",
        ),
        (
            [weights(), weights()],
            "layer 2 must have 4 input features, the outputs of layer 1; got 3",
        ),
        (arrays_under("gru", "keras/"), "three blocks of H, as in a GRU"),
    ],
)
def test_wrong_names_and_shapes_are_refused(theirs, message):
    with pytest.raises(ValueError, match=f"^keras.to_params: .*{re.escape(message)}"):
        keras.to_params(theirs)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (KERNEL, "weights must be a list, as returned by get_weights; got ndarray"),
        ([KERNEL, RECURRENT.astype(np.float16)], "one dtype; got kernel float32, recurrent_kernel"),
        ([KERNEL, "x", BIAS], "recurrent_kernel must be an array of floating-point numbers"),
    ],
)  # fmt: skip
def test_values_that_are_not_arrays_are_refused(theirs, message):
    with pytest.raises(TypeError, match=f"^keras.to_params: .*{re.escape(message)}"):
        keras.to_params(theirs)


def test_params_unsupported_by_keras_are_refused():
    projected = lj.ProjectedLSTM(3, 5, projection_size=2).init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"keras\.from_params: keras has no projection"):
        keras.from_params(projected)
    with pytest.raises(ValueError, match=r"keras\.from_params: bias=False needs biases of zero"):
        keras.from_params(keras.to_params(weights()), bias=False)
