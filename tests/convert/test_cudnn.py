"""Conversion of cuDNN's flat vector: round trips, agreement with JAX's unpacking, and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from jax.experimental import rnn

import lstm_jax as lj
from lstm_jax.convert import cudnn
from lstm_jax.testing import quick_jit
from tests.helpers.conversions import (
    SIZES,
    cases,
    identical,
    parameters,
    unwrap_single_layer,
    vector,
)


def weights(case):
    return vector("cudnn", case).weights


def test_every_case_has_sizes():
    assert [*SIZES] == cases("cudnn")


@pytest.mark.parametrize("case", SIZES)
def test_jax_unpacks_from_params_to_the_same_weights(case):
    params = cudnn.to_params(weights(case), *SIZES[case])
    flat = quick_jit(cudnn.from_params)(params)
    assert flat.shape == (rnn.get_num_params_in_lstm(*SIZES[case]),)
    w_ih, w_hh, b_ih, b_hh = quick_jit(lambda flat: rnn.unpack_lstm_weights(flat, *SIZES[case]))(
        flat
    )
    single = jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, lj.LSTMParams))
    for k, ours in enumerate(single):
        np.testing.assert_array_equal(w_ih[k].T, ours.kernel)
        np.testing.assert_array_equal(w_hh[k].T, ours.recurrent_kernel)
        np.testing.assert_array_equal(b_ih[k], ours.bias)
        assert not b_hh[k].any()


@settings(max_examples=6)
@given(parameters(uniform=True))
def test_round_trip(params):
    one = unwrap_single_layer(params)
    first = jax.tree.leaves(one, is_leaf=lambda node: isinstance(node, lj.LSTMParams))[0]
    layers = len(one) if type(one) is tuple else 1
    both = any(isinstance(node, lj.Directions) for node in [one, *one])
    sizes = (first.kernel.shape[0], first.recurrent_kernel.shape[0], layers, both)
    back = quick_jit(lambda params: cudnn.to_params(cudnn.from_params(params), *sizes))
    assert identical(back(params), one)


@pytest.mark.parametrize(
    ("theirs", "sizes", "kind", "message"),
    [
        (jnp.ones(199), (3, 5), ValueError, r"weights must have shape \(200,\) for input_size 3,"),
        (jnp.ones((200, 1)), (3, 5), ValueError, r"got \(200, 1\)"),
        (jnp.ones(200), (3, 5, 2, True), ValueError, "num_layers 2, bidirectional True; got"),
        (jnp.ones(200), (0, 5), ValueError, "input_size must be at least 1; got 0"),
        (jnp.ones(200), (3, 5, 0), ValueError, "num_layers must be at least 1; got 0"),
        (jnp.ones(200), (3, 5.0), TypeError, "hidden_size must be an integer"),
        (jnp.ones(200, int), (3, 5), TypeError, "weights must be an array of floating-point"),
    ],
)
def test_wrong_names_and_shapes_are_refused(theirs, sizes, kind, message):
    with pytest.raises(kind, match=f"^cudnn.to_params: {message}|^cudnn.to_params: .*{message}"):
        cudnn.to_params(theirs, *sizes)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (lj.ProjectedLSTM(3, 5, projection_size=2), "cudnn has no projection"),
        (
            lj.stack(lj.LSTM(3, 5), lj.LSTM(5, 4)),
            "cudnn needs the same units and directions in all",
        ),
        (lj.stack(lj.bidirectional(lj.LSTM(3, 5)), lj.LSTM(10, 5)), "got units 5 and 5, then 5"),
    ],
)
def test_params_unsupported_by_cudnn_are_refused(cell, message):
    with pytest.raises(ValueError, match=rf"^cudnn.from_params: .*{message}"):
        cudnn.from_params(cell.init(jax.random.key(0)))
