"""Conversion of PyTorch modules: their nonlinearity, and weights stored as other tensors."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.convert import cell_of, torch
from tests.helpers.conversions import identical, vector

ONE = vector("torch", "one").weights
W = ONE["weight_hh_l0"]
REST = {name: array for name, array in ONE.items() if name != "weight_hh_l0"}
RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def module(case, **attributes):
    return SimpleNamespace(state_dict=lambda: vector("torch", case).weights, **attributes)


def test_to_cell_of_a_module_has_its_nonlinearity():
    relu = module("rnn_relu", nonlinearity="relu")
    cell, params = torch.to_cell(relu)
    assert cell == lj.TanhRNN(3, 4, activation=jax.nn.relu)
    assert identical(params, torch.to_params(vector("torch", "rnn_relu").weights))
    cell, params = torch.to_cell(module("rnn", nonlinearity="tanh"))
    assert cell == cell_of(params)


def test_to_params_refuses_a_module_that_cell_of_would_make_another_function_of():
    relu = module("rnn_relu", nonlinearity="relu")
    with pytest.raises(ValueError, match=r"^torch\.to_params: the nonlinearity .* call to_cell"):
        torch.to_params(relu)
    assert identical(torch.to_params(module("rnn", nonlinearity="tanh"))[0].forward, RNN.forward)
    with pytest.raises(ValueError, match=r"nonlinearity must be one of .*; got 'sine'"):
        torch.to_cell(module("rnn", nonlinearity="sine"))


RNN = torch.to_params(vector("torch", "rnn").weights)[0]


def test_the_nonlinearity_of_a_module_inside_of_a_model():
    weights = vector("torch", "rnn_relu").weights
    state = {f"encoder.rnn.{name}": array for name, array in weights.items()}
    encoder = SimpleNamespace(rnn=SimpleNamespace(nonlinearity="relu"))
    model = SimpleNamespace(state_dict=lambda: state, encoder=encoder)
    assert torch.to_cell(model, prefix="encoder.rnn.")[0].activation is jax.nn.relu
    with pytest.raises(ValueError, match="call to_cell"):
        torch.to_params(model, prefix="encoder.rnn.")


def weight_norm(axes):
    g, v = np.abs(normal(*(1 if k in axes else n for k, n in enumerate(W.shape)))), normal(*W.shape)
    norm = np.sqrt((v.astype(np.float64) ** 2).sum(axis=axes, keepdims=True))
    g = g if axes != (0, 1) else g.reshape(())
    return g, v, g * v / norm


def names(*parts):
    return [f"weight_hh_l0_{part}" for part in parts]


G, V, FOLDED = weight_norm((1,))
G0, V0, FOLDED0 = weight_norm((0,))
G_ALL, V_ALL, FOLDED_ALL = weight_norm((0, 1))
U, S, VH = np.linalg.svd(W.astype(np.float64))
MASK = (normal(*W.shape) > 0).astype(np.float32)
PARAMETRIZED = "parametrizations.weight_hh_l0"
STORED = {
    "weight norm": (dict(zip(names("g", "v"), (G, V), strict=True)), FOLDED),
    "weight norm over columns": (dict(zip(names("g", "v"), (G0, V0), strict=True)), FOLDED0),
    "weight norm of all": (dict(zip(names("g", "v"), (G_ALL, V_ALL), strict=True)), FOLDED_ALL),
    "parametrized weight norm": (
        {f"{PARAMETRIZED}.original0": G, f"{PARAMETRIZED}.original1": V},
        FOLDED,
    ),
    "spectral norm": (
        dict(zip(names("orig", "u", "v"), (W, *map(np.float32, (U[:, 0], VH[0]))), strict=True)),
        W / S[0],
    ),
    "parametrized spectral norm": (
        {
            f"{PARAMETRIZED}.original": W,
            f"{PARAMETRIZED}.0._u": np.float32(U[:, 0]),
            f"{PARAMETRIZED}.0._v": np.float32(VH[0]),
        },
        W / S[0],
    ),
    "pruning": (dict(zip(names("orig", "mask"), (W, MASK), strict=True)), W * MASK),
    "weight drop": ({"weight_hh_l0_raw": W}, W),
    "weight drop with a copy": ({"weight_hh_l0_raw": W, "weight_hh_l0": W * 0}, W),
    "a copy before weight drop": ({"weight_hh_l0": W * 0, "weight_hh_l0_raw": W}, W),
}


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("prefix", ["", "encoder.lstm."])
def test_a_stored_weight_is_that_of_evaluation(kind, prefix):
    stored, weight = STORED[kind]
    theirs = {f"{prefix}{name}": array for name, array in (stored | REST).items()}
    params = torch.to_params(theirs, prefix=prefix)
    np.testing.assert_allclose(params.recurrent_kernel, weight.T, rtol=1e-6)
    assert identical(params.kernel, jnp.asarray(ONE["weight_ih_l0"].T))
    if "norm" not in kind:
        np.testing.assert_array_equal(params.recurrent_kernel, weight.T)


def test_all_weights_of_all_layers_may_be_stored():
    weights = vector("torch", "gru").weights
    theirs = {}
    for name, array in weights.items():
        theirs |= {f"{name}_orig": array, f"{name}_mask": np.ones_like(array)}
    assert identical(torch.to_params(theirs), torch.to_params(weights))


def test_a_stored_weight_keeps_its_dtype_and_is_computed_in_float32():
    theirs = {
        name: array.astype(jnp.bfloat16)
        for name, array in (STORED["weight norm"][0] | REST).items()
    }
    params = torch.to_params(theirs)
    assert params.recurrent_kernel.dtype == jnp.bfloat16
    exact = weight_of_float32 = torch.to_params(
        {k: a.astype(np.float32) for k, a in theirs.items()}
    )
    assert weight_of_float32 is exact
    np.testing.assert_array_equal(
        params.recurrent_kernel, exact.recurrent_kernel.astype(jnp.bfloat16)
    )


@pytest.mark.parametrize("copy", [False, True])
def test_the_weights_of_a_weight_drop_wrapper(copy):
    theirs = {"rnns.0.weight_hh_l0_raw": W}
    theirs |= {f"rnns.0.module.{name}": array for name, array in REST.items()}
    theirs |= {"rnns.0.module.weight_hh_l0": W * 0} if copy else {}
    assert identical(torch.to_params(theirs, prefix="rnns.0."), torch.to_params(ONE))
    for prefix in ("", "rnns.0.module."):
        with pytest.raises(ValueError, match=rf"under prefix='{prefix}'; found under 'rnns\.0\.'"):
            torch.to_params(theirs, prefix=prefix)
    inside = {f"rnns.0.module.{n}": a for n, a in (REST | {"weight_hh_l0_raw": W}).items()}
    assert identical(torch.to_params(inside, prefix="rnns.0.module."), torch.to_params(ONE))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (
            {f"{PARAMETRIZED}.original": W, f"{PARAMETRIZED}.0.base": W},
            "weight_hh_l0 is stored as parametrizations.weight_hh_l0.original,"
            " parametrizations.weight_hh_l0.0.base, which is no weight norm",
        ),
        (
            {"weight_hh_l0_g": G},
            "weight_hh_l0 is stored as weight_hh_l0_g, which is no weight norm",
        ),
        ({"weight_hh_l0": W, "weight_hh_l0_g": G}, "stored as weight_hh_l0, weight_hh_l0_g, which"),
        (
            dict(zip(names("orig", "mask"), (W, MASK[:5]), strict=True)),
            "shapes do not match: weight_hh_l0_orig (16, 4), weight_hh_l0_mask (5, 4)",
        ),
        (dict(zip(names("g", "v"), (G, V[:, :3]), strict=True)), "weight_ih_l0 must have shape"),
    ],
)
def test_other_stored_weights_are_refused(stored, message):
    with pytest.raises(ValueError, match=f"^torch.to_params: .*{re.escape(message)}"):
        torch.to_params(stored | REST)
