"""Conversion of Haiku weights: round trips, the forget bias, prefixes, and errors."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import lstm_jax as lj
from lstm_jax.convert import cell_of, haiku
from lstm_jax.testing import quick_jit
from tests.helpers.conversions import (
    cases,
    identical,
    parameters,
    round_trip,
    unwrap_single_layer,
    vector,
)


def weights(case="one"):
    return vector("haiku", case).weights


def test_every_case_has_a_round_trip():
    assert cases("haiku") == ["one", "two_layers", "gru", "rnn_relu", "rnn_one_bias"]


def test_round_trip_of_a_gru_is_exact():
    back = haiku.from_params(haiku.to_params(weights("gru")))
    assert identical(back, jax.tree.map(jnp.asarray, weights("gru")))
    assert [*haiku.from_params(haiku.to_params(weights("gru")), name="net/gru")] == [
        "net/gru",
        "net/gru_1",
    ]


def test_the_update_gate_of_a_gru_is_negated():
    theirs = {"w_i": np.ones((3, 6)), "w_h": np.ones((2, 6)), "b": np.float64([1, 2, 3, 4, 5, 6])}
    params = haiku.to_params(theirs)
    assert params.bias.tolist() == [3, 4, -1, -2, 5, 6]  # their order is z, r, a
    assert params.recurrent_kernel[0].tolist() == [1, 1, -1, -1, 1, 1]
    assert params.recurrent_bias is None


@pytest.mark.parametrize("case", ["rnn_relu", "rnn_one_bias"])
def test_round_trip_of_a_vanilla_rnn(case):
    cell, params = haiku.to_cell(weights(case))
    one = cell.cells[0] if case == "rnn_relu" else cell
    assert one == lj.TanhRNN(3, 4, activation=jax.nn.relu)
    with pytest.raises(ValueError, match=r"pass activation=jax\.nn\.relu if that"):
        haiku.from_params(params)
    back = haiku.from_params(params, activation=jax.nn.relu)
    assert identical(haiku.to_cell(back)[1], params)
    assert back.keys() == weights(case).keys()
    theirs, first = weights(case)["vanilla_rnn/linear"], back["vanilla_rnn/linear"]
    np.testing.assert_array_equal(first["w"], theirs["w"])
    second = weights(case)["vanilla_rnn/linear_1"].get("b", 0)
    np.testing.assert_array_equal(first["b"], theirs["b"] + second)


def test_to_cell_of_other_cores_is_cell_of():
    cell, params = haiku.to_cell(weights("two_layers"))
    assert cell == cell_of(params)
    assert identical(params, haiku.to_params(weights("two_layers")))


@pytest.mark.parametrize("case", ["one", "two_layers"])
def test_round_trip_of_their_weights_is_exact_up_to_rounding(case):
    back = haiku.from_params(haiku.to_params(weights(case)))
    assert jax.tree.structure(back) == jax.tree.structure(weights(case))
    for name, linear in weights(case).items():
        np.testing.assert_array_equal(back[name]["w"], linear["w"])
        others = np.r_[0:8, 12:16]  # i, g, o: exact, as no 1 was added
        np.testing.assert_array_equal(back[name]["b"][others], linear["b"][others])
        np.testing.assert_allclose(back[name]["b"], linear["b"], rtol=0, atol=1.2e-7)


def test_1_is_added_to_the_forget_gate_only():
    b = np.repeat(np.array([1, 2, 3, 4], np.float32), 2)  # i, g, f, o
    params = haiku.to_params({"w": np.zeros((5, 8), np.float32), "b": b})
    assert params.bias.tolist() == [1, 1, 4, 4, 2, 2, 4, 4]  # i, f + 1, g, o


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 6e-8), ("bfloat16", 4e-3)])
def test_the_rounding_error_is_as_documented(dtype, bound):
    documented = (
        "within half a unit in the last place of 1 + b_f: 6e-8 in float32 and 4e-3 in bfloat16"
    )
    assert documented in " ".join(haiku.__doc__.split())
    f = np.random.default_rng(0).uniform(-0.9, 0.9, 100).astype(jnp.dtype(dtype))
    b = np.concatenate([f, f, f, f])
    theirs = {"w": np.zeros((101, 400), jnp.dtype(dtype)), "b": b}
    params = quick_jit(haiku.to_params)(theirs)
    back = quick_jit(haiku.from_params)(params)["lstm/linear"]["b"]
    difference = np.abs(np.asarray(back, np.float64) - b.astype(np.float64))
    assert bound / 4 < difference.max() <= bound


@settings(max_examples=6)
@given(parameters(directions=False))
def test_round_trip(params):
    one = unwrap_single_layer(params)
    back = round_trip("haiku", params)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(one), strict=True):
        atol = 2 * float(jnp.finfo(b.dtype).eps) if b.ndim == 1 else 0
        np.testing.assert_allclose(*(np.asarray(x, np.float64) for x in (a, b)), rtol=0, atol=atol)
    assert jax.tree.structure(back) == jax.tree.structure(one)


def test_a_single_linear_layer_equals_a_mapping_with_it():
    assert identical(haiku.to_params(weights()), haiku.to_params(weights()["lstm/linear"]))


def test_a_prefix_finds_the_layers_in_natural_order():
    first = {"w": np.ones((7, 16), np.float32), "b": np.zeros(16, np.float32)}
    later = {"w": np.ones((8, 16), np.float32), "b": np.zeros(16, np.float32)}
    names = ["net/~/lstm/linear", *(f"net/~/lstm_{k}/linear" for k in range(1, 12))]
    model = dict.fromkeys(reversed(names), later) | {"head": {"w": np.ones(3)}}
    model[names[0]] = first
    model[names[10]] = {"w": later["w"], "b": later["b"] + 5}
    params = haiku.to_params(model, prefix="net/~/lstm")
    assert [p.kernel.shape[0] for p in params] == [3] + [4] * 11
    assert [float(p.bias[0]) for p in params].index(5) == 10
    assert [*haiku.from_params(params, name="net/~/lstm")] == names
    with pytest.raises(
        ValueError, match=r"no name starts with 'lstm'; the names are net/~/lstm_11/lin"
    ):
        haiku.to_params(model, prefix="lstm")


W, B = (weights()["lstm/linear"][name] for name in "wb")
GRU = weights("gru")["gru"]


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({}, "no name starts with ''; the names are none"),
        ({"w": W}, "missing b"),
        ({"w": W, "b": B, "c": B}, "unexpected c"),
        ({"a/linear": {"w": W}}, "missing a/linear/b"),
        ({"w": W, "b": B[:15]}, "b must have shape [4H] = (12,); got (15,)"),
        ({"w": W[:4], "b": B}, "w must have shape [I+H, 4H] = (5, 16); got (4, 16)"),
        ({"w": W.T, "b": B}, "w must have shape [I+H, 4H]"),
        ({"a": {"w": W, "b": B}, "b": {"w": W, "b": B}}, "layer 2 must have 4 input features"),
        ({"w_i": W, "w_h": W}, "missing b"),
        (GRU | {"b": GRU["b"][1:]}, "b must have shape [3H] = (12,); got (11,)"),
        (GRU | {"w_i": W}, "w_i must have shape [I, 3H] = (7, 12); got (7, 16): four blocks of H"),
        ({"lstm/linear": {"w": W, "b": B}, "gru": GRU}, "layers of different kinds, gru and lstm:"),
        (weights("rnn_relu"), "the activation of hk.VanillaRNN is relu, not the tanh of cell_of: "),
    ],
)
def test_wrong_names_and_shapes_are_refused(theirs, message):
    with pytest.raises(ValueError, match=f"^haiku.to_params: .*{re.escape(message)}"):
        haiku.to_params(theirs)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ([W, B], "parameters must be a mapping; got list"),
        ({0: W}, "names must be strings; got 0"),
        ({"w": W, "b": B.astype(np.float16)}, "one dtype; got w float32, b float16"),
        ({"a/linear": {"w": W, "b": B}, "c": B}, "c must contain w and b; got ndarray"),
    ],
)
def test_values_that_are_not_arrays_are_refused(theirs, message):
    with pytest.raises(TypeError, match=f"^haiku.to_params: .*{re.escape(message)}"):
        haiku.to_params(theirs)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (lj.ProjectedLSTM(3, 5, projection_size=2), "haiku has no projection"),
        (lj.bidirectional(lj.LSTM(3, 5)), "haiku has no bidirectional layer; convert forward"),
        (lj.GRU(3, 5), "haiku has no GRU; got GRUParams"),
        (lj.stack(lj.LSTM(3, 5), lj.TanhRNN(5, 2)), "layers must be of one kind"),
    ],
)
def test_params_unsupported_by_haiku_are_refused(cell, message):
    with pytest.raises(ValueError, match=f"^haiku.from_params: {message}"):
        haiku.from_params(cell.init(jax.random.key(0)))
