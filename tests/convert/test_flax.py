"""Conversion of Flax weights: all forms of trees and modules, whole models, and errors."""

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
from lstm_jax import linen as layers
from lstm_jax import nnx as nnx_layers
from lstm_jax.convert import flax
from lstm_jax.testing import quick_jit
from tests.helpers.conversions import (
    arrays_under,
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
        ({"forward_rnn": {"cell": CELL}}, "missing backward_rnn"),
        ({"forward_rnn": CELL, "backward_rnn": CELL, "x": 1}, "unexpected x"),
        ({"forward_rnn": CELL, "backward_rnn": {}}, "missing backward_rnn/ii/kernel"),
        (arrays_under("gru", "flax/linen/"), ": these are names of a GRU"),
        (arrays_under("gru", "flax/nnx/"), "unexpected dense_i/bias: these are names of a GRU"),
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


class InSetup(linen.Module):
    """A model with named layers, whose parameters contain those of their cells."""

    def setup(self):
        self.lower = linen.RNN(linen.OptimizedLSTMCell(4))
        self.both = linen.Bidirectional(*(linen.RNN(linen.LSTMCell(4)) for _ in range(2)))
        self.gru, self.head = linen.RNN(linen.GRUCell(4)), linen.Dense(2)

    def __call__(self, xs):
        return self.head(self.gru(self.both(self.lower(xs))))


def random_variables(model):
    """Return random variables of a model, including nonzero biases."""
    random, shapes = np.random.default_rng(0), jax.eval_shape(model.init, jax.random.key(0), XS)
    return jax.tree.map(lambda a: random.normal(0, 0.5, a.shape).astype(a.dtype), shapes)


def test_a_model_whose_layers_have_names():
    theirs = random_variables(InSetup())
    tree = theirs["params"]
    ours = flax.take_over({**theirs, "batch_stats": {"mean": 1.0}}, rename={"head": "readout"})
    assert ours["batch_stats"] == {"mean": 1.0}
    params = ours["params"]
    assert params.keys() == {"lower", "both", "gru", "readout"}
    assert identical(lj.LSTMParams(**params["lower"]), flax.to_params(tree["lower"]))
    both = lj.Directions(*(lj.LSTMParams(**params["both"][name]) for name in lj.Directions._fields))
    assert identical(both, flax.to_params(tree["both"]))
    assert identical([params["gru"], params["readout"]], [tree["gru"], tree["head"]])


class InPlace(linen.Module):
    """A model with cells created in `__call__`, which linen names after their class."""

    @linen.compact
    def __call__(self, xs):
        xs = linen.RNN(linen.OptimizedLSTMCell(4))(linen.Dense(3)(xs))
        return linen.Bidirectional(*(linen.RNN(linen.LSTMCell(4)) for _ in range(2)))(xs)


IN_PLACE = {
    "OptimizedLSTMCell_0": "LSTM_0",
    "LSTMCell_0": "LSTM_1/forward",
    "LSTMCell_1": "LSTM_1/backward",
}


def test_a_model_whose_cells_are_named_after_their_kind():
    tree = random_variables(InPlace())["params"]
    assert tree.keys() == {"Dense_0", "OptimizedLSTMCell_0", "LSTMCell_0", "LSTMCell_1"}
    ours = flax.take_over(tree, IN_PLACE)
    assert ours.keys() == {"Dense_0", "LSTM_0", "LSTM_1"}
    assert identical(lj.LSTMParams(**ours["LSTM_0"]), flax.to_params(tree["OptimizedLSTMCell_0"]))
    for k, name in enumerate(lj.Directions._fields):
        assert identical(
            lj.LSTMParams(**ours["LSTM_1"][name]), flax.to_params(tree[f"LSTMCell_{k}"])
        )
    assert identical(ours["Dense_0"], tree["Dense_0"])


class OursInSetup(InSetup):
    """The same model with our layers."""

    def setup(self):
        self.lower, self.both = layers.LSTM(4), layers.LSTM(4, bidirectional=True)
        self.gru, self.head = linen.RNN(linen.GRUCell(4)), linen.Dense(2)


class OursInPlace(linen.Module):
    """The same model with our layers."""

    @linen.compact
    def __call__(self, xs):
        xs = layers.LSTM(4)(linen.Dense(3)(xs))
        return layers.LSTM(4, bidirectional=True)(xs)


@pytest.mark.parametrize(
    ("theirs", "ours", "rename"), [(InSetup, OursInSetup, {}), (InPlace, OursInPlace, IN_PLACE)]
)
def test_a_converted_checkpoint_gives_the_same_outputs_with_our_layers(theirs, ours, rename):
    variables = random_variables(theirs())
    converted = flax.take_over(variables, rename)
    xs = jax.random.normal(jax.random.key(1), (2, 7, 3))
    expected = quick_jit(theirs().apply)(variables, xs)
    got = quick_jit(ours().apply)(converted, xs)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
    assert jax.tree.structure(converted) == jax.tree.structure(random_variables(ours()))


class TheirsInNNX(nnx.Module):
    def __init__(self, rngs):
        self.lower = nnx.RNN(nnx.OptimizedLSTMCell(3, 4, rngs=rngs))
        self.upper = nnx.List([nnx.RNN(nnx.LSTMCell(4, 4, rngs=rngs))])
        self.gru, self.head = nnx.RNN(nnx.GRUCell(4, 4, rngs=rngs)), nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, xs):
        return self.head(self.gru(self.upper[0](self.lower(xs))))


class OursInNNX(TheirsInNNX):
    def __init__(self, rngs):
        super().__init__(rngs)
        self.lower = nnx_layers.LSTM(3, 4, rngs=rngs)
        self.upper = nnx.List([nnx_layers.LSTM(4, 4, rngs=rngs)])


def test_a_converted_nnx_checkpoint_gives_the_same_outputs_with_our_layers():
    theirs, ours = TheirsInNNX(nnx.Rngs(0)), OursInNNX(nnx.Rngs(1))
    xs = jax.random.normal(jax.random.key(1), (2, 7, 3))
    converted = flax.take_over(nnx.to_pure_dict(nnx.state(theirs, nnx.Param)))
    nnx.update(ours, converted)
    np.testing.assert_allclose(outputs_of(ours, xs), outputs_of(theirs, xs), rtol=0, atol=1e-6)


def test_take_over_of_an_nnx_state():
    model = TheirsInNNX(nnx.Rngs(0))
    state = nnx.state(model)
    ours = flax.take_over(state, rename={"lower": "lstm"})
    assert ours.keys() == {"lstm", "upper", "gru", "head"}
    assert identical(lj.LSTMParams(**ours["lstm"]), flax.to_params(model.lower))
    assert identical(lj.LSTMParams(**ours["upper"][0]), flax.to_params(model.upper[0]))
    assert ours["gru"].keys() == {"cell", "rngs"}
    assert ours["head"]["kernel"] is state["head"]["kernel"]


def stacked(tree):
    """Add a first axis of layers, as `nn.scan` does."""
    return jax.tree.map(lambda a: np.stack([a] * 2), tree)


@pytest.mark.parametrize(
    ("theirs", "rename", "message"),
    [
        ({"a": {"kernel": 1}}, {}, "no LSTM found; the names are a"),
        ({"a": arrays_under("gru", "flax/nnx/")}, {}, "no LSTM found"),
        ({"a": {"dense_i": DENSE["dense_h"], "dense_h": DENSE["dense_h"]}}, {}, "no LSTM found"),
        ({"a": CELL}, {"b": "c"}, "no module is called b"),
        ({"a": CELL, "b": CELL}, {"a": "b"}, "two modules would get the name 'b'"),
        ({"a": CELL, "b": CELL}, {"a": "c/d", "b": "c"}, "two modules would get the name 'c'"),
        ({"a": CELL, "b": CELL}, {"a": "b/forward"}, "two modules would get the name 'b'"),
        ({"a": {"forward_rnn": CELL}}, {}, "a: the names must be forward_rnn, backward_rnn; miss"),
        (
            {
                "a": {
                    "forward_rnn": CELL,
                    "backward_rnn": flax.from_params(random_params(lj.LSTM(2, 4))),
                }
            },
            {},
            "a: both directions must have the same input features; got [3, 2]",
        ),
        (
            {"params": {"lower": {"cell": CELL}, "upper": [], "top": {"cell": stacked(CELL)}}},
            {"top": "LSTM_0"},
            "params/top: cell/ii/kernel must have shape [I, H] = (2, 2); got (2, 3, 4)",
        ),
        ({"b": stacked(DENSE)}, {}, "b: dense_i/kernel must"),
        (CELL | {"ii": {"kernel": 1.0}}, {}, "ii/kernel must be an array of floating-point"),
    ],
)
def test_invalid_trees_and_renames_are_refused(theirs, rename, message):
    with pytest.raises((ValueError, TypeError), match=f"^flax.take_over: .*{re.escape(message)}"):
        flax.take_over(theirs, rename)


def test_other_layers_with_the_names_of_an_lstm_are_unchanged():
    dense = {"kernel": np.ones((5, 20)), "bias": np.ones(20)}
    others = {"dense_i": {"kernel": np.ones((3, 5))}, "dense_h": dense}
    ours = flax.take_over({"a": others, "b": DENSE})
    assert ours["a"] == others
    assert ours["b"].keys() == {"kernel", "recurrent_kernel", "bias"}


def test_take_over_refuses_a_list():
    with pytest.raises(TypeError, match=r"flax\.take_over: parameters must be a mapping; got list"):
        flax.take_over([CELL])
