"""Conversion of Flax weights: all forms of trees and modules, and errors."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from flax.core import freeze
from hypothesis import given, settings
from hypothesis import strategies as st

import lstm_jax as lj
from lstm_jax.convert import flax
from lstm_jax.testing import quick_jit
from tests.helpers.conversions import (
    cases,
    identical,
    parameters,
    random_params,
    round_trip,
    vector,
)

LAYOUTS = ("linen", "nnx.LSTMCell", "nnx.OptimizedLSTMCell")
XS = jnp.ones((2, 5, 3))


def weights(case="linen.LSTMCell"):
    return vector("flax", case).weights


@pytest.mark.parametrize("case", cases("flax"))
def test_round_trip_of_their_weights_is_exact(case):
    layout = "linen" if case.startswith("linen") else case
    layout = "nnx.OptimizedLSTMCell" if case == "nnx.Bidirectional" else layout
    back = flax.from_params(flax.to_params(weights(case)), layout=layout)
    assert identical(back, jax.tree.map(jnp.asarray, weights(case)))


@settings(max_examples=12)
@given(parameters(), st.sampled_from(LAYOUTS))
def test_round_trip(params, layout):
    assert identical(round_trip("flax", params, layout=layout), params)


CELL = weights()
DENSE = weights("nnx.OptimizedLSTMCell")
GRU_KERNEL, GRU_BIAS = np.ones((4, 12), np.float32), np.ones(12, np.float32)
FORMS = {
    "a cell": CELL,
    "an RNN": {"cell": CELL},
    "variables": {"params": {"cell": CELL}},
    "frozen": freeze({"params": CELL}),
    "boxed": jax.tree.map(lambda a: linen.Partitioned(a, names=(None,) * a.ndim), CELL),
    "names of nnx": {"if_" if name == "if" else name: part for name, part in CELL.items()},
    "a state": nnx.State(jax.tree.map(nnx.Param, {"cell": CELL})),
    "with a stream": {"cell": CELL, "rngs": {"count": 0}},
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_the_same_weights_are_equal(form):
    assert identical(flax.to_params(FORMS[form]), flax.to_params(CELL))


def outputs_of(module, xs):
    """Apply an nnx module."""
    graph, state = nnx.split(module)
    return quick_jit(lambda state: nnx.merge(graph, state)(xs))(state)


@pytest.mark.parametrize("kind", [nnx.LSTMCell, nnx.OptimizedLSTMCell])
def test_live_modules_of_nnx(kind):
    plain = nnx.initializers.lecun_normal()  # orthogonal initialization takes long to compile
    cells = [kind(3, 4, recurrent_kernel_init=plain, rngs=nnx.Rngs(k)) for k in (0, 1)]
    rnns = [nnx.RNN(cell) for cell in cells]
    both = nnx.Bidirectional(*rnns)
    params = flax.to_params(cells[0])
    outputs = lj.unroll(lj.LSTM(3, 4), params, jnp.swapaxes(XS, 0, 1))[1]
    np.testing.assert_allclose(jnp.swapaxes(outputs_of(rnns[0], XS), 0, 1), outputs, atol=1e-6)
    pure = nnx.to_pure_dict(nnx.state(cells[0], nnx.Param))
    for form in (rnns[0], nnx.state(rnns[0]), nnx.state(cells[0]), pure):
        assert identical(flax.to_params(form), params)
    assert identical(flax.to_params([cells[0]]), (params,))
    ours = flax.to_params(both)
    assert identical(ours, lj.Directions(params, flax.to_params(cells[1])))
    assert identical(flax.to_params(nnx.state(both)), ours)


def test_a_list_is_a_stack():
    first, second = weights("linen.LSTMCell"), flax.from_params(random_params(lj.LSTM(4, 2)))
    params = flax.to_params([{"cell": first}, second])
    assert [p.kernel.shape for p in params] == [(3, 16), (4, 8)]
    with pytest.raises(ValueError, match=r"flax\.to_params: layer 2 must have 4 input features"):
        flax.to_params([first, first])


def test_a_carry_has_the_reverse_order_of_our_state():
    c, h = jnp.zeros(3), jnp.ones(3)
    state = flax.to_carry((c, h))
    assert state.h is h
    assert state.c is c
    assert flax.from_carry(state) == (c, h)
    for function, expected in (
        (flax.to_carry, "carry must be a tuple (c, h)"),
        (flax.from_carry, "state must be a tuple (h, c)"),
    ):
        message = f"{function.__name__}: the {expected}; got ArrayImpl"
        with pytest.raises(TypeError, match=re.escape(message)):
            function(jnp.ones((2, 3)))


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({}, "missing ii/kernel"),
        (object(), "missing ii/kernel"),
        ({k: v for k, v in CELL.items() if k != "hg"}, "missing hg/kernel, hg/bias"),
        ({"cell": CELL | {"hx": CELL["hi"]}}, "unexpected cell/hx/"),
        (CELL | {"ii": CELL["hi"]}, "unexpected ii/bias"),
        (CELL | {"ii": {"kernel": np.ones((2, 4), np.float32)}}, "must have shape [I, H] = (2, 4)"),
        (CELL | {"hi": CELL["hi"] | {"bias": np.ones((), np.float32)}}, "hi/bias must have shape"),
        ({"forward_rnn": CELL, "backward_rnn": CELL, "x": 1}, "unexpected x"),
        ({"forward_rnn": {}, "backward_rnn": {}}, "missing forward_rnn/ii/kernel"),
        (DENSE | {"dense_h": {"kernel": GRU_KERNEL, "bias": GRU_BIAS}}, "as in a GRU"),
        (linen.RNN(linen.LSTMCell(4)), "missing"),
    ],
)  # fmt: skip
def test_wrong_names_and_shapes_are_refused(theirs, message):
    with pytest.raises(ValueError, match=f"^flax.to_params: .*{re.escape(message)}"):
        flax.to_params(theirs)


def test_values_that_are_not_arrays_are_refused():
    with pytest.raises(TypeError, match=r"flax\.to_params: ii/kernel must be an array of floating"):
        flax.to_params(CELL | {"ii": {"kernel": 1.0}})


def test_params_unsupported_by_flax_are_refused():
    with pytest.raises(ValueError, match=r"flax\.from_params: flax has no projection"):
        flax.from_params(random_params(lj.ProjectedLSTM(3, 5, projection_size=2)))
    with pytest.raises(ValueError, match=r"flax\.from_params: layout must be one of .*; got 'nnx'"):
        flax.from_params(random_params(lj.LSTM(3, 5)), layout="nnx")
