"""Conversion of Equinox weights: round trips, modules, and errors."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import lstm_jax as lj
from lstm_jax.convert import equinox
from tests.helpers.conversions import identical, parameters, round_trip, vector


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Module:
    """A stand-in for `equinox.nn.LSTMCell`: a pytree with the same fields."""

    weight_ih: Any
    weight_hh: Any
    bias: Any
    bias_n: Any = None
    hidden_size: int = dataclasses.field(default=4, metadata={"static": True})


def weights(case="one"):
    return vector("equinox", case).weights


def module(case="one"):
    return Module(**({"bias": None} | weights(case)))


@pytest.mark.parametrize("case", ["one", "two_layers", "gru"])
def test_round_trip_of_their_weights_is_exact(case):
    back = equinox.from_params(equinox.to_params(weights(case)))
    assert identical(back, jax.tree.map(jnp.asarray, weights(case)))


@settings(max_examples=12)
@given(parameters(directions=False))
def test_round_trip(params):
    assert identical(round_trip("equinox", params), params)


@pytest.mark.parametrize("case", ["one", "no_bias", "gru_no_bias"])
def test_round_trip_of_a_module(case):
    params = equinox.to_params(module(case))
    assert identical(params, equinox.to_params(weights(case)))
    blank = jax.tree.map(np.zeros_like, module(case))
    filled = equinox.from_params(params, like=blank)
    assert identical(filled, jax.tree.map(jnp.asarray, module(case)))
    assert filled.hidden_size == 4


def test_modules_of_a_stack():
    cells = [Module(**layer) for layer in weights("two_layers")]
    params = equinox.to_params(cells)
    blank = jax.tree.map(np.zeros_like, cells)
    assert identical(equinox.from_params(params, like=blank), jax.tree.map(jnp.asarray, cells))
    message = "like must be a list of 2 cells; got a list of 1"
    with pytest.raises(ValueError, match=message):
        equinox.from_params(params, like=blank[:1])
    with pytest.raises(ValueError, match="like must be one cell; got a list of 1"):
        equinox.from_params(params[0], like=blank[:1])
    with pytest.raises(ValueError, match="like must be a list of 2 cells; got Module"):
        equinox.from_params(params, like=blank[0])


def test_a_module_without_bias_refuses_a_bias():
    params = equinox.to_params(weights())
    with pytest.raises(ValueError, match=r"equinox\.from_params: bias=False needs biases of zero"):
        equinox.from_params(params, like=module("no_bias"))


def test_a_module_of_other_sizes_or_another_type_is_refused():
    params = lj.LSTM(3, 5).init(jax.random.key(0))
    message = r"weight_ih of like must have shape \(20, 3\); got \(16, 3\)"
    with pytest.raises(ValueError, match=message):
        equinox.from_params(params, like=module())
    with pytest.raises(ValueError, match=r"unexpected kernel, recurrent_kernel"):
        equinox.from_params(params, like=params)


ONE = weights()
GRU = weights("gru")[0]


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({}, "missing weight_ih, weight_hh"),
        (object(), "missing weight_ih, weight_hh"),
        (ONE | {"weight": np.ones(3), 0: 1}, "unexpected weight, 0"),
        (ONE | {"weight_hh": np.ones((16, 5), np.float32)}, "weight_ih must have shape [4H, I]"),
        (ONE | {"bias": ONE["bias"][1:]}, "bias must have shape [4H] = (16,); got (15,)"),
        ([ONE, ONE], "layer 2 must have 4 input features, the outputs of layer 1; got 3"),
        ([], "at least one layer is needed"),
        (
            ONE | {"bias_n": np.ones(4, np.float32)},
            "[3H, I] = (12, 3); got (16, 3)",
        ),
        ({k: v for k, v in GRU.items() if k != "bias_n"}, "missing bias_n"),
        ({k: v for k, v in GRU.items() if k != "bias"}, "missing bias"),
        (GRU | {"weight_ih": ONE["weight_ih"]}, "[3H, I] = (12, 3); got (16, 3): four blocks of H"),
        ({k: v[:4] for k, v in ONE.items()}, "(4, 3): one block of H, as in a simple RNN"),
    ],
)
def test_wrong_names_and_shapes_are_refused(theirs, message):
    with pytest.raises(ValueError, match=f"^equinox.to_params: .*{re.escape(message)}"):
        equinox.to_params(theirs)


def test_values_that_are_not_arrays_are_refused():
    with pytest.raises(TypeError, match=r"equinox\.to_params: bias must be an array of floating"):
        equinox.to_params(ONE | {"bias": np.ones(16, int)})
    with pytest.raises(TypeError, match=r"equinox\.to_params: weights must have one dtype"):
        equinox.to_params(ONE | {"bias": np.ones(16, np.float16)})


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (lj.ProjectedLSTM(3, 5, projection_size=2), "equinox has no projection"),
        (lj.bidirectional(lj.LSTM(3, 5)), "equinox has no bidirectional layer"),
        (lj.TanhRNN(3, 5), "equinox has no simple RNN; got TanhRNNParams"),
        (
            lj.GRU(3, 5, reset_after=False),
            "equinox has no GRU that resets before the product; got GRUParams without recurrent_",
        ),
    ],
)
def test_params_unsupported_by_equinox_are_refused(cell, message):
    with pytest.raises(ValueError, match=f"^equinox.from_params: {message}"):
        equinox.from_params(cell.init(jax.random.key(0)))
