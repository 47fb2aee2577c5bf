"""Conversion of PyTorch state dicts: round trips, prefixes, tensors, and errors."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import lstm_jax as lj
from lstm_jax.convert import torch
from tests.helpers.conversions import (
    cases,
    identical,
    parameters,
    round_trip,
    unwrap_single_layer,
    vector,
)

ONE = "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"


LAYOUTS = {"cell": "nn.LSTMCell", "gru_cell": "nn.GRUCell", "rnn_cell": "nn.RNNCell"}


def weights(case="one", dtype="float32"):
    return vector("torch", case, dtype).weights


@pytest.mark.parametrize("case", cases("torch"))
def test_round_trip_of_their_weights_keeps_names_and_outputs(case):
    ours = torch.to_params(weights(case))
    back = torch.from_params(ours, bias="no_bias" not in case, layout=LAYOUTS.get(case))
    assert jax.tree.map(jnp.shape, back) == jax.tree.map(jnp.shape, weights(case))
    for name, array in back.items():
        if name.startswith("weight"):
            np.testing.assert_array_equal(array, weights(case)[name])
        if name.startswith("bias_hh"):  # only the last block of a GRU is needed
            candidate = np.arange(len(array)) >= 8 if case.startswith("gru") else False
            np.testing.assert_array_equal(array, np.where(candidate, weights(case)[name], 0))
    assert identical(torch.to_params(back), ours)


@settings(max_examples=12)
@given(parameters(projection=True, uniform=True))
def test_round_trip(params):
    back = round_trip("torch", params)
    assert identical(back, unwrap_single_layer(params))


def test_the_bias_is_the_sum_of_both_biases():
    theirs = weights()
    summed = theirs["bias_ih_l0"] + theirs["bias_hh_l0"]
    np.testing.assert_array_equal(torch.to_params(theirs).bias, summed)


def test_the_biases_of_a_gru():
    theirs = {"weight_ih": np.ones((6, 3)), "weight_hh": np.ones((6, 2))}
    theirs |= {"bias_ih": np.arange(6.0), "bias_hh": 10 * np.arange(6.0)}
    params = torch.to_params(theirs)
    assert params.bias.tolist() == [0, 11, 22, 33, 4, 5]
    assert params.recurrent_bias.tolist() == [40, 50]


def test_a_prefix_finds_the_lstm_in_a_model():
    inner = weights("two_layers")
    model = {f"encoder.lstm.{name}": array for name, array in inner.items()}
    model |= {"head.weight": np.ones((1, 4)), "decoder.weight_ih": np.ones((16, 3))}
    assert identical(torch.to_params(model, prefix="encoder.lstm."), torch.to_params(inner))
    back = torch.from_params(torch.to_params(inner), prefix="encoder.lstm.")
    assert back.keys() == {name for name in model if name.startswith("encoder")}
    with pytest.raises(ValueError, match=r"torch\.to_params: no name starts with 'a\.', and no"):
        torch.to_params({"head.weight": np.ones((1, 4))}, prefix="a.")
    for prefix in ("", "encoder.", "encoder.lstm", "other."):
        with pytest.raises(
            ValueError,
            match=re.escape(
                f"torch.to_params: no LSTM, GRU or RNN under prefix={prefix!r}; found under"
                " 'encoder.lstm.' and 'decoder.'"
            ),
        ):
            torch.to_params(model, prefix=prefix)


def test_a_module_is_converted_by_its_state_dict():
    class Module:
        def state_dict(self):
            return weights()

    assert identical(torch.to_params(Module()), torch.to_params(weights()))


class Tensor:
    """A stand-in for a PyTorch tensor, which has a gradient and may be bfloat16."""

    def __init__(self, array, graph=True):
        self.array, self.graph = array, graph
        self.dtype = f"torch.{array.dtype.name}"
        self.shape = array.shape

    def detach(self):
        return Tensor(self.array, graph=False)

    def cpu(self):
        return self

    def float(self):
        return Tensor(self.array.astype(np.float32), self.graph)

    def numpy(self):
        if self.graph or self.array.dtype == jnp.bfloat16:
            raise TypeError("as PyTorch does")
        return self.array


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_live_tensors_keep_their_dtype(dtype):
    arrays = {name: array.astype(dtype) for name, array in weights().items()}
    params = torch.to_params({name: Tensor(array) for name, array in arrays.items()})
    assert {leaf.dtype.name for leaf in params} == {dtype}
    assert identical(params, torch.to_params(arrays))


def test_params_are_copies_of_their_arrays():
    theirs = {name: array.copy() for name, array in weights("no_bias").items()}
    params = torch.to_params(theirs)
    for array in theirs.values():
        array[...] = 0
    assert identical(params, torch.to_params(weights("no_bias")))


def test_float64_becomes_float32_unless_enabled():
    theirs = weights(dtype="float64")
    assert torch.to_params(theirs).kernel.dtype == jnp.float32
    with jax.enable_x64(True):
        assert torch.to_params(theirs).kernel.dtype == jnp.float64


def test_a_nonzero_bias_is_refused_with_bias_false():
    params = lj.LSTM(3, 5).init(jax.random.key(0))  # the forget bias is 1
    message = r"torch.from_params: bias=False needs biases of zero; got values up to 1$"
    with pytest.raises(ValueError, match=message):
        torch.from_params(params, bias=False)
    with pytest.raises(ValueError, match="got values up to nan"):
        torch.from_params(params._replace(bias=jnp.full(20, jnp.nan)), bias=False)
    without = torch.from_params(params._replace(bias=jnp.zeros(20)), bias=False)
    assert [*without] == ["weight_ih_l0", "weight_hh_l0"]
    assert not torch.to_params(without).bias.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_hh_l0": None}, "missing weight_hh_l0"),
        ({"bias_hh_l0": None}, "missing bias_hh_l0"),
        ({"weight_g": np.ones(3)}, "unexpected weight_g"),
        ({"weight_ih_l2": np.ones(3)}, "unexpected weight_ih_l2"),
        ({"weight_ih_l1_reverse": np.ones(3)}, "missing weight_ih_l0_reverse"),
        ({"weight_ih_l0": np.ones((16, 3, 1), np.float32)}, "weight_ih_l0 must have shape [4H, I]"),
        ({"weight_ih_l0": np.ones((20, 3), np.float32)}, "[4H, I] = (16, 3); got (20, 3)"),
        ({"bias_ih_l0": np.ones((), np.float32)}, "bias_ih_l0 must have shape [4H] = (16,)"),
        ({"weight_hr_l0": np.ones((4, 6), np.float32)}, "weight_ih_l0 must have shape [4H, I] = "),
        ({"weight_hr_l0": np.ones((2, 4), np.float32)}, "weight_hr_l0 must have shape [P, H] = "),
        ({"weight_ih_l0": np.ones((0, 3), np.float32)}, "weight_ih_l0 must have shape [4H, I]"),
        ({"weight_ih_l0": np.broadcast_to(np.float32(1), (2**30, 2**20))}, "(1073741824, 1048576)"),
    ],
)  # fmt: skip
def test_wrong_names_and_shapes_are_refused(change, message):
    theirs = {name: array for name, array in (weights() | change).items() if array is not None}
    with pytest.raises(ValueError, match=rf"^torch.to_params: .*{re.escape(message)}"):
        torch.to_params(theirs)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ([1, 2], "the state dict must be a mapping; got list"),
        ({0: 1}, "names must be strings; got 0"),
        (dict.fromkeys(ONE, np.ones(20, np.int32)), "weight_ih_l0 must be an array of floating"),
        (dict.fromkeys(ONE, "x"), "must be an array of floating-point numbers; got str"),
        (dict.fromkeys(ONE, np.ones(2, complex)), "floating-point numbers; got complex128"),
        (
            weights() | {"bias_hh_l0": np.ones(16, np.float16)},
            "weights must have one dtype; got weight_ih_l0 float32, weight_hh_l0 float32,"
            " bias_ih_l0 float32, bias_hh_l0 float16",
        ),
    ],
)
def test_values_that_are_not_arrays_are_refused(theirs, message):
    with pytest.raises(TypeError, match=rf"^torch.to_params: .*{re.escape(message)}"):
        torch.to_params(theirs)


@pytest.mark.parametrize(
    ("rows", "hint"),
    [(12, "three blocks of H, as in a GRU"), (4, "one block of H, as in a simple RNN")],
)
def test_an_error_names_the_blocks_of_another_layer(rows, hint):
    theirs = weights("two_layers")
    theirs |= {name: array[:rows] for name, array in theirs.items() if name.endswith("l1")}
    with pytest.raises(ValueError, match=rf"weight_ih_l1 must have shape \[4H, I\].*: {hint}"):
        torch.to_params(theirs)


def init_params(*layers):
    return tuple(cell.init(jax.random.key(0)) for cell in layers)


PROJECTED = lj.ProjectedLSTM(3, 2, projection_size=2)


@pytest.mark.parametrize(
    ("params", "settings", "message"),
    [
        (init_params(lj.LSTM(3, 5), lj.LSTM(5, 4)), {}, "got units 5, then 4"),
        (
            init_params(lj.bidirectional(lj.LSTM(3, 5)), lj.LSTM(10, 5)),
            {},
            "torch needs the same units and directions in all layers; got units 5 and 5, then 5",
        ),
        (
            init_params(PROJECTED)[0],
            {},
            "proj_size must be below hidden_size in PyTorch; got 2 and 2",
        ),
        (init_params(PROJECTED)[0], {"layout": "nn.LSTMCell"}, "torch has no projection"),
        (
            init_params(lj.LSTM(3, 5)),
            {"layout": "nn.LSTMCell"},
            "nn.LSTMCell has one layer; got a tuple of 1",
        ),
        (
            init_params(lj.bidirectional(lj.LSTM(3, 5)))[0],
            {"layout": "nn.LSTMCell"},
            "torch has no bidirectional layer",
        ),
        (
            init_params(lj.LSTM(3, 5))[0],
            {"layout": "LSTM"},
            "layout must be one of ('nn.LSTM', 'nn.LSTMCell', 'nn.GRU'",
        ),
        (init_params(lj.LSTM(3, 5), lj.LSTM(4, 5)), {}, "layer 2 must have 5 input features"),
        ((), {}, "at least one layer is needed; got none"),
        (init_params(lj.LSTM(3, 5))[0], {"layout": "nn.GRU"}, "layout must be 'nn.LSTM' for LSTM"),
        (init_params(lj.GRU(3, 5))[0], {"layout": "nn.RNNCell"}, "must be 'nn.GRUCell' for GRUPar"),
        (
            init_params(lj.GRU(3, 5, reset_after=False))[0],
            {},
            "torch has no GRU that resets before the product; got GRUParams without recurrent_bias",
        ),
        (
            init_params(lj.LSTM(3, 5), lj.GRU(5, 5)),
            {},
            "the same units and directions in all layers; got units 5, then 5 of a GRU",
        ),
    ],
)
def test_params_unsupported_by_pytorch_are_refused(params, settings, message):
    with pytest.raises(ValueError, match=rf"^torch.from_params: .*{re.escape(message)}"):
        torch.from_params(params, **settings)
