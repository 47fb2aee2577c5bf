"""Which trees are parameters and which are moments: Flax's convolutional LSTM tells them apart."""

from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pytest
from flax import linen, serialization
from flax.training.train_state import TrainState

from lstm_jax import linen as layers
from lstm_jax.convert import flax

CELL = linen.ConvLSTMCell(2, (3,))
CARRY = (np.zeros((4, 2), np.float32),) * 2
XS = np.ones((4, 3), np.float32)
SHAPES = jax.eval_shape(CELL.init, jax.random.key(0), CARRY, XS)["params"]
TREE = {"conv": jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), SHAPES)}
VARIABLES = {"params": TREE}


@pytest.fixture(autouse=True)
def _standard_promotion():
    """Optax needs it."""
    with jax.numpy_dtype_promotion("standard"):
        yield


class State(NamedTuple):
    """A checkpoint of a program of one's own."""

    actor_params: Any
    opt_state: Any


class Agent(NamedTuple):
    actor: Any


def forget_biases(tree):
    """The mean forget bias of every converted cell, by its path."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/conv/bias"): float(
            leaf[2:4].mean()
        )
        for path, leaf in jax.tree.leaves_with_path(tree)
        if "bias" in jax.tree_util.keystr(path)
    }


def state_of(optimizer):
    """The state after `init` for zeros, so that moments of it are zero and copies too."""
    return optimizer.init(TREE)


ADAM = state_of(optax.adam(0.1))
MOMENTUM = state_of(optax.sgd(0.1, momentum=0.9))


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ([VARIABLES, VARIABLES], {"0/params": 1, "1/params": 1}),
        ((TREE, TREE), {"0": 1, "1": 1}),
        ({"0": TREE, "1": TREE}, {"0": 1, "1": 1}),
        ({"0": VARIABLES, "1": VARIABLES}, {"0/params": 1, "1/params": 1}),
        ({"layers": [TREE]}, {"layers/0": 1}),
        (
            {"model": TREE, "optimizer": ADAM},
            {"model": 1, "optimizer/0/mu": 0, "optimizer/0/nu": 0},
        ),
        ({"opt": [{"trace": TREE}, None]}, {"opt/0/trace": 0}),
        ({"params": TREE, "opt": MOMENTUM}, {"params": 1, "opt/0/trace": 0}),
        (State(TREE, ADAM), {"actor_params": 1, "opt_state/0/mu": 0, "opt_state/0/nu": 0}),
        ((VARIABLES, ADAM), {"0/params": 1, "1/0/mu": 0, "1/0/nu": 0}),
        ({"opt_state": {"momentum": TREE}}, {"opt_state/momentum": 0}),
        ({"params": {"mu": TREE, "opt": TREE}}, {"params/mu": 1, "params/opt": 1}),
        (ADAM[0]._replace(mu=VARIABLES), {"mu/params": 0, "nu": 0}),
        (optax.LookaheadParams(TREE, TREE), {"fast": 1, "slow": 1}),
    ],
)  # fmt: skip
def test_the_containers_tell(theirs, expected):
    assert forget_biases(flax.take_over(theirs)) == expected
    restored = serialization.to_state_dict(theirs)
    assert forget_biases(flax.take_over(restored)) == expected


OPTIMIZERS = {
    "adam": optax.adam(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "amsgrad": optax.amsgrad(0.1),
    "adan": optax.adan(0.1),
    "lion": optax.lion(0.1),
    "adadelta": optax.adadelta(0.1),
    "rprop": optax.rprop(0.1),
    "rmsprop": optax.rmsprop(0.1),
    "centered": optax.rmsprop(0.1, centered=True),
    "adagrad": optax.adagrad(0.1, initial_accumulator_value=0.0),
    "average": optax.chain(optax.ema(0.9), optax.apply_every(2)),
    "several steps": optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation(),
    "masked": optax.masked(optax.adam(0.1), mask={"conv": True}),
    "groups": optax.multi_transform({"params": optax.adam(0.1)}, {"conv": "params"}),
    "hyperparameters": optax.inject_hyperparams(optax.adam)(0.1),
    "finite": optax.apply_if_finite(optax.adam(0.1), 2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("restore", [lambda state: state, serialization.to_state_dict])
def test_the_states_of_optax(name, restore):
    state = restore(state_of(OPTIMIZERS[name]))
    biases = forget_biases(flax.take_over({"best": state}))
    assert biases
    assert all(bias < 1 for bias in biases.values()), biases


@pytest.mark.parametrize(
    ("optimizer", "copy"),
    [(optax.contrib.schedule_free_sgd(0.1), "z"), (optax.contrib.prodigy(), "params0")],
)
def test_copies_of_the_parameters_in_a_state_are_parameters(optimizer, copy):
    state = state_of(optimizer)
    for theirs in (state, serialization.to_state_dict(state)):
        biases = forget_biases(flax.take_over({"opt_state": theirs}))
        assert {path.rsplit("/", 1)[-1] for path, bias in biases.items() if bias == 1} == {copy}


@pytest.mark.parametrize(
    "theirs",
    [
        {"optimizer": {"velocity": TREE}},
        {"mu": TREE, "nu": TREE},
        {"params": TREE, "ema": TREE},
        Agent(TREE),
        {"0": {"velocity": TREE}, "1": {"count": 0, "mu": {}, "nu": {}}},
    ],
)
def test_what_may_be_either_needs_the_argument(theirs):
    with pytest.raises(ValueError, match=r"^flax\.take_over: .*conv: parameters, or .* moments=Fa"):
        flax.take_over(theirs)
    assert {*forget_biases(flax.take_over(theirs, moments=False)).values()} == {1}
    assert {*forget_biases(flax.take_over(theirs, moments=True)).values()} == {0}
    assert flax.take_over(theirs, keep=["conv"])


def test_gradients_are_moments():
    assert flax.take_over(TREE, moments=True)["conv"]["bias"].tolist() == [0.0] * 8


def test_a_train_state():
    state = TrainState.create(apply_fn=CELL.apply, params=TREE, tx=optax.adam(0.1))
    ours = flax.take_over(state)
    assert ours.params["conv"]["bias"].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert {*forget_biases(ours.opt_state).values()} == {0}


def test_a_cell_without_a_bias_has_none_as_a_drop_in():
    theirs, ours = (
        kind(2, (3,), use_bias=False) for kind in (linen.ConvLSTMCell, layers.ConvLSTMCell)
    )
    variables = theirs.init(jax.random.key(0), CARRY, XS)
    converted = flax.take_over(variables, cells_only=True)
    shapes = jax.eval_shape(ours.init, jax.random.key(0), CARRY, XS)
    assert jax.tree.map(np.shape, converted) == jax.tree.map(np.shape, shapes)
    expected, got = theirs.apply(variables, CARRY, XS)[1], ours.apply(converted, CARRY, XS)[1]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert flax.take_over(variables)["params"]["bias"].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert flax.take_over({"mu": variables["params"]}, cells_only=True)["mu"].keys() == {
        "kernel",
        "recurrent_kernel",
    }
