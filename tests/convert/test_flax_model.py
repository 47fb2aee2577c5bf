"""Conversion of whole Flax models, of linen and nnx, for the same models with our layers."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import lstm_jax as lj
from lstm_jax import linen as layers
from lstm_jax import nnx as nnx_layers
from lstm_jax.convert import flax
from lstm_jax.testing import quick_jit
from tests.helpers.conversions import identical, random_params, vector

CELL = vector("flax", "linen.LSTMCell").weights
DENSE = vector("flax", "nnx.OptimizedLSTMCell").weights
XS = jnp.ones((2, 5, 3))


def outputs_of(module, xs):
    """Apply an nnx module."""
    graph, state = nnx.split(module)
    return quick_jit(lambda state: nnx.merge(graph, state)(xs))(state)


class InSetup(linen.Module):
    """A model with named layers, whose parameters contain those of their cells."""

    def setup(self):
        self.lower = linen.RNN(linen.OptimizedLSTMCell(4))
        self.both = linen.Bidirectional(*(linen.RNN(linen.LSTMCell(4)) for _ in range(2)))
        self.gru, self.head = linen.RNN(linen.GRUCell(4)), linen.Dense(2)
        self.kept = linen.RNN(linen.SimpleCell(4))

    def __call__(self, xs):
        return self.head(self.kept(self.gru(self.both(self.lower(xs)))))


def random_variables(model):
    """Return random variables of a model, including nonzero biases."""
    random, shapes = np.random.default_rng(0), jax.eval_shape(model.init, jax.random.key(0), XS)
    return jax.tree.map(lambda a: random.normal(0, 0.5, a.shape).astype(a.dtype), shapes)


def test_a_model_whose_layers_have_names():
    theirs = random_variables(InSetup())
    tree = theirs["params"]
    given = {**theirs, "batch_stats": {"head": {"mean": 1.0}, "none": {}}}
    ours = flax.take_over(given, rename={"head": "readout"}, keep=["kept"])
    assert ours["batch_stats"] == {"readout": {"mean": 1.0}, "none": {}}
    params = ours["params"]
    assert params.keys() == {"lower", "both", "gru", "readout", "kept"}
    assert identical(lj.LSTMParams(**params["lower"]), flax.to_params(tree["lower"]))
    both = lj.Directions(*(lj.LSTMParams(**params["both"][name]) for name in lj.Directions._fields))
    assert identical(both, flax.to_params(tree["both"]))
    assert identical(lj.GRUParams(**params["gru"]), flax.to_params(tree["gru"]))
    assert identical([params["kept"], params["readout"]], [tree["kept"], tree["head"]])


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
        self.gru, self.head = layers.GRU(4), linen.Dense(2)
        self.kept = linen.RNN(linen.SimpleCell(4))


class OursInPlace(linen.Module):
    """The same model with our layers."""

    @linen.compact
    def __call__(self, xs):
        xs = layers.LSTM(4)(linen.Dense(3)(xs))
        return layers.LSTM(4, bidirectional=True)(xs)


@pytest.mark.parametrize(
    ("theirs", "ours", "settings"),
    [
        (InSetup, OursInSetup, {"keep": ["kept"]}),
        (InPlace, OursInPlace, {"rename": IN_PLACE}),
    ],
)
def test_a_converted_checkpoint_gives_the_same_outputs_with_our_layers(theirs, ours, settings):
    variables = random_variables(theirs())
    converted = flax.take_over(variables, **settings)
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
        self.gru = nnx_layers.GRU(4, 4, rngs=rngs)


def test_a_converted_nnx_checkpoint_gives_the_same_outputs_with_our_layers():
    theirs, ours = TheirsInNNX(nnx.Rngs(0)), OursInNNX(nnx.Rngs(1))
    xs = jax.random.normal(jax.random.key(1), (2, 7, 3))
    converted = flax.take_over(nnx.to_pure_dict(nnx.state(theirs, nnx.Param)))
    nnx.update(ours, converted)
    np.testing.assert_allclose(outputs_of(ours, xs), outputs_of(theirs, xs), rtol=0, atol=1e-6)


def test_take_over_of_an_nnx_state():
    model = TheirsInNNX(nnx.Rngs(0))
    state = nnx.state(model)
    ours = flax.take_over(state, rename={"lower": "lstm"}, keep=["gru"])
    assert ours.keys() == {"lstm", "upper", "gru", "head"}
    assert identical(lj.LSTMParams(**ours["lstm"]), flax.to_params(model.lower))
    assert identical(lj.LSTMParams(**ours["upper"][0]), flax.to_params(model.upper[0]))
    assert ours["gru"].keys() == {"cell", "rngs"}
    assert ours["head"]["kernel"] is state["head"]["kernel"]


def stacked(tree):
    """Add a first axis, as `nn.scan` over layers and `jax.vmap` over seeds do."""
    return jax.tree.map(lambda a: np.stack([a, a + 1]), tree)


@pytest.mark.parametrize("cell", [CELL, DENSE])
def test_parameters_of_several_models_at_once(cell):
    ours = flax.take_over({"a": {"cell": stacked(cell)}})["a"]
    for k in range(2):
        one = jax.tree.map(lambda a, k=k: a + k, cell)
        assert identical(
            lj.LSTMParams(**jax.tree.map(lambda a, k=k: a[k], ours)), flax.to_params(one)
        )


MGU = {name: {"kernel": np.ones((4, 4), np.float32)} for name in ("if", "in", "hf", "hn")}
GRU = flax.from_params(random_params(lj.GRU(3, 4)))


@pytest.mark.parametrize(
    ("theirs", "rename", "message"),
    [
        ({"a": {"kernel": 1}}, {}, "no recurrent layer of Flax found; the names are a"),
        ({}, {}, "no recurrent layer of Flax found; the names are none"),
        ({"a": {"b": MGU}}, {}, "the names are a, a/b, a/b/if, a/b/in, a/b/hf"),
        ({"a": {"b": MGU}}, {}, "; there is no cell here for the MGUCell a/b"),
        ({"a": {"dense_i": DENSE["dense_h"], "dense_h": DENSE["dense_h"]}}, {}, "no recurrent"),
        ({"a": CELL}, {"b": "c"}, "no module is called 'b'; found: a (LSTM)"),
        (
            {"encoder": {"GRUCell_0": GRU}, "b": {"forward_rnn": CELL, "backward_rnn": GRU}},
            {"encoder/GRUCel_0": "c"},
            "did you mean 'encoder/GRUCell_0'?; found: encoder/GRUCell_0 (GRU),"
            " b (bidirectional LSTM and GRU)",
        ),
        ({"a": CELL, "b": CELL}, {"a": "b"}, "two modules would get the name 'b': a and b"),
        ({"a": CELL, "b": CELL}, {"a": "c/d", "b": "c"}, "arrays of b would be in 'c', where a is"),
        ({"a": CELL, "b": CELL}, {"a": "b/forward"}, "the arrays of b would be in 'b', where a"),
        (
            {"params": {"LSTMCell_0": CELL, "Dense_0": {"kernel": 1}}},
            {"LSTMCell_0": ""},
            "the arrays of LSTMCell_0 would be in 'params', where Dense_0/kernel is too",
        ),
        (
            {"LSTMCell_0": CELL, "Dense_0": {"kernel": 1}},
            {"LSTMCell_0": ""},
            "the arrays of LSTMCell_0 would be in the top level, where Dense_0/kernel is too",
        ),
        ({"a": CELL, "b": {"w": 1}, "c": {"w": 2}}, {"b": "c"}, "get the name 'c/w': b/w and c/w"),
        ({"a": CELL, "w": 1, "b": {"w": 2}}, {"b": ""}, "two modules would get the name 'w'"),
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
            {"params": {"top": {"cell": stacked(CELL) | {"ii": CELL["ii"]}}}},
            {"top": "LSTM_0"},
            "params/top: ii/kernel must have shape [I, H] = (4, 4); got (4,)",
        ),
        (CELL | {"ii": {"kernel": 1.0}}, {}, "ii/kernel must be an array of floating-point"),
    ],
)  # fmt: skip
def test_invalid_trees_and_renames_are_refused(theirs, rename, message):
    with pytest.raises((ValueError, TypeError), match=f"^flax.take_over: .*{re.escape(message)}"):
        flax.take_over(theirs, rename)


def test_other_layers_with_the_names_of_an_lstm_are_unchanged():
    dense = {"kernel": np.ones((5, 20)), "bias": np.ones(20)}
    others = {"dense_i": {"kernel": np.ones((3, 5))}, "dense_h": dense}
    ours = flax.take_over({"a": others, "b": DENSE})
    assert ours["a"] == others
    assert ours["b"].keys() == {"kernel", "recurrent_kernel", "bias"}


def test_what_contains_no_mapping_is_refused():
    with pytest.raises(
        TypeError, match=r"flax\.take_over: parameters must be a mapping, or in one"
    ):
        flax.take_over([np.ones(3)])
    with pytest.raises(TypeError, match=r"flax\.take_over: keep must be a list of paths; got 'a'"):
        flax.take_over({"a": CELL}, keep="a")


def test_levels_are_dropped_added_and_kept():
    theirs = {"Step_0": {"LSTMCell_0": CELL}, "scan": {"GRUCell_0": GRU}, "Dense_0": {"kernel": 1}}
    ours = flax.take_over(
        theirs, {"Step_*/LSTMCell_0": "Step_*/RNNCell_0", "scan": "", "Dense_0": "head/Dense_0"}
    )
    assert ours.keys() == {"Step_0", "GRUCell_0", "head"}
    assert ours["Step_0"].keys() == {"RNNCell_0"}
    assert ours["head"] == {"Dense_0": {"kernel": 1}}
    with pytest.raises(ValueError, match="keep: no module is called 'GRUCel_0'; did you mean"):
        flax.take_over(theirs, keep=["GRUCel_0"])
    assert flax.take_over(theirs, keep=["LSTMCell_0"])["Step_0"] == theirs["Step_0"]


def names_of(tree):
    return {jax.tree_util.keystr(path, simple=True, separator="/")
            for path, _ in jax.tree.leaves_with_path(tree)}  # fmt: skip


@pytest.mark.parametrize(
    ("rename", "names"),
    [
        ({"**": "new/**"}, {"new/a/b/kernel", "new/LSTM/bias", "new/scale"}),
        ({"**": "new/**", "LSTM": "x"}, {"new/a/b/kernel", "new/x/bias", "new/scale"}),
        ({"a": "c", "**": "new/**"}, {"new/c/b/kernel", "new/LSTM/bias", "new/scale"}),
        ({"*": "x_*"}, {"x_a/x_b/kernel", "x_LSTM/bias", "scale"}),
        ({"**/b": "**/c"}, {"a/c/kernel", "LSTM/bias", "scale"}),
    ],
)
def test_rules_are_about_modules_not_arrays(rename, names):
    tree = {"a": {"b": {"kernel": 1}}, "LSTM": {"cell": CELL}, "scale": 2}
    others = names - {name for name in names if name.endswith("bias")}
    (layer,) = {name.removesuffix("/bias") for name in names - others}
    expected = others | {f"{layer}/{name}" for name in lj.LSTMParams._fields}
    assert names_of(flax.take_over(tree, rename)) == expected
    given = {"params": tree, "opt_state": {"0": {"count": 0, "mu": tree}, "1": {}}, "step": 3}
    ours = flax.take_over(given, rename)
    assert names_of(ours["params"]) == expected
    assert names_of(ours["opt_state"]["0"]["mu"]) == expected
    assert (ours["opt_state"]["0"]["count"], ours["step"]) == (0, 3)
    restored = flax.take_over(given["opt_state"], rename)
    assert names_of(restored["0"]["mu"]) == expected


def test_a_rule_may_name_the_cell_in_an_rnn():
    theirs = {"a": {"cell": CELL}, "b": {"cell": CELL}}
    assert flax.take_over(theirs, {"*/cell": "LSTM_*"}).keys() == {"LSTM_a", "LSTM_b"}


def test_cells_alone():
    theirs = {
        "a": {"cell": CELL},
        "b": {"forward_rnn": {"cell": GRU}, "backward_rnn": {"cell": GRU}},
    }
    ours = flax.take_over({"params": theirs}, cells_only=True)["params"]
    assert ours["a"]["cell"].keys() == {"kernel", "recurrent_kernel", "bias"}
    for name in ("forward_rnn", "backward_rnn"):
        assert ours["b"][name]["cell"].keys() == {*lj.GRUParams._fields}


def test_names_that_are_integers_stay_integers():
    theirs = {"layers": {0: {"cell": CELL}, 1: {"kernel": 1}}}
    assert flax.take_over(theirs, {"layers/0": "layers/2"})["layers"].keys() == {1, 2}
