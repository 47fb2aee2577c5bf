"""Conversion of Keras weights: round trips, layers and models, and errors."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import lstm_jax as lj
from lstm_jax.convert import keras
from tests.helpers.conversions import cases, identical, parameters, round_trip, vector


def weights(case="one"):
    return vector("keras", case).weights


def without_split(bias):
    """Return the biases of a GRU as `from_params` splits them."""
    if bias.ndim == 1:
        return bias
    b, zeros = bias.copy(), np.zeros_like(bias[1])
    b[0, :8] += b[1, :8]  # z and r
    b[1, :8] = zeros[:8]
    return b


@pytest.mark.parametrize("case", cases("keras"))
def test_round_trip_of_their_weights_is_exact(case):
    theirs, bias = weights(case), "no_bias" not in case
    back = keras.from_params(keras.to_params(theirs, reset_after=GRUS.get(case)), bias=bias)
    if case == "gru":
        theirs = [[without_split(a) if a.shape == (2, 12) else a for a in each] for each in theirs]
    assert identical(back, jax.tree.map(jnp.asarray, theirs))


GRUS = {"gru": True, "gru_before": False, "gru_no_bias": True}


@settings(max_examples=12)
@given(parameters())
def test_round_trip(params):
    assert identical(round_trip("keras", params), params)


def test_a_stack_of_one_layer_stays_one():
    params = keras.to_params([weights()])
    assert type(params) is tuple
    assert identical(params[0], keras.to_params(weights()))


def test_params_are_copies_of_their_arrays():
    theirs = [array.copy() for array in weights()]
    params = keras.to_params(theirs)
    for array in theirs:
        array[...] = 0
    assert identical(params, keras.to_params(weights()))


KERNEL, RECURRENT, BIAS = weights()
GRU = weights("gru")[1]


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ([], "a recurrent layer has 2 or 3 arrays, a Bidirectional 4 or 6; got 0"),
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
        (
            [KERNEL[:, :12], RECURRENT],
            "[I, 4H] = (3, 16); got (3, 12): three blocks of H",
        ),
        (GRU[:2], "a GRU without a bias do not tell whether it resets after the product: pass"),
        ([*GRU[:2], GRU[2][:, 1:]], "bias must have shape [2, 3H] = (2, 12); got (2, 11)"),
        ([*GRU[:2], GRU[2][0, 1:]], "bias must have shape [3H] = (12,); got (11,)"),
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


def test_a_given_reset_after_must_match_the_bias():
    with pytest.raises(ValueError, match=r"bias must have shape \[3H\] = \(12,\); got \(2, 12\)"):
        keras.to_params(GRU, reset_after=False)


def test_the_gates_of_a_gru_are_in_another_order():
    bias = np.float64([[1, 2, 3, 4, 5, 6], [10, 20, 30, 40, 50, 60]])  # z, r, h
    params = keras.to_params([np.ones((3, 6)), np.ones((2, 6)), bias])
    assert params.bias.tolist() == [33, 44, 11, 22, 5, 6]
    assert params.recurrent_bias.tolist() == [50, 60]
    before = keras.to_params([np.ones((3, 6)), np.ones((2, 6)), bias[0]])
    assert before.bias.tolist() == [3, 4, 1, 2, 5, 6]
    assert before.recurrent_bias is None


@pytest.mark.parametrize(("case", "kind"), [("one", "LSTM"), ("gru", "GRU")])
def test_weights_of_the_layers_for_cudnn_of_keras_2(case, kind):
    kernel, recurrent, bias = weights() if kind == "LSTM" else GRU
    blocks = 4 if kind == "LSTM" else 3

    def stored(array):  # a matrix [H, I] for every gate, under the shape [I, H]
        each = np.split(array, blocks, axis=1)
        return np.concatenate([part.T.ravel().reshape(part.shape) for part in each], axis=1)

    second = np.float32(np.arange(bias.size)) if kind == "LSTM" else np.zeros(0, np.float32)
    theirs = [stored(kernel), stored(recurrent), np.concatenate([bias.ravel(), second])]
    expected = [kernel, recurrent, bias + second if kind == "LSTM" else bias]
    assert identical(keras.to_params(theirs), keras.to_params(expected))
    assert theirs[2].shape == (2 * blocks * 4,)


def test_params_unsupported_by_keras_are_refused():
    projected = lj.ProjectedLSTM(3, 5, projection_size=2).init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"keras\.from_params: keras has no projection"):
        keras.from_params(projected)
    with pytest.raises(ValueError, match=r"keras\.from_params: bias=False needs biases of zero"):
        keras.from_params(keras.to_params(weights()), bias=False)
