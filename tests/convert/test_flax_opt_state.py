"""Optimizer states of models with Flax's cells: training goes on with our layers as before."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx, serialization
from flax.training.train_state import TrainState

from lstm_jax import linen as layers
from lstm_jax import nnx as nnx_layers
from lstm_jax.convert import flax
from lstm_jax.testing import quick_jit

XS = np.random.default_rng(1).normal(size=(2, 4, 3)).astype(np.float32)


class Theirs(linen.Module):
    """A model with a cell of each kind."""

    @linen.compact
    def __call__(self, xs):
        xs = linen.RNN(linen.OptimizedLSTMCell(4))(xs)
        xs = linen.Bidirectional(linen.RNN(linen.GRUCell(4)), linen.RNN(linen.GRUCell(4)))(xs)
        return linen.Dense(1)(linen.RNN(linen.SimpleCell(4))(xs))


class Ours(linen.Module):
    """The same model with our layers."""

    @linen.compact
    def __call__(self, xs):
        xs = layers.GRU(4, bidirectional=True)(layers.LSTM(4)(xs))
        return linen.Dense(1)(layers.TanhRNN(4)(xs))


RENAME = {
    "OptimizedLSTMCell_0": "LSTM_0",
    "GRUCell_0": "GRU_0/forward",
    "GRUCell_1": "GRU_0/backward",
    "SimpleCell_0": "TanhRNN_0",
}


def kernels(params):
    """A mask of the kernels."""
    return jax.tree.map_with_path(lambda path, _: "kernel" in path[-1].key, params)


def labels(params):
    """The groups of parameters in `optax.multi_transform`: those of the head, and the others."""
    return {
        name: jax.tree.map(lambda _, name=name: "head" if name == "Dense_0" else "body", part)
        for name, part in params.items()
    }


OPTIMIZERS = {
    "momentum": optax.sgd(0.1, momentum=0.9),
    "adam": optax.adam(0.1),
    "adamw": optax.adamw(0.1, mask=kernels),
    "masked": optax.masked(optax.adam(0.1), kernels),
    "groups": optax.multi_transform({"head": optax.sgd(0.1), "body": optax.adam(0.1)}, labels),
    "average": optax.chain(optax.adam(0.1), optax.ema(0.9)),
}


@pytest.fixture(autouse=True)
def _standard_promotion():
    """Optax needs it."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def stepper(model, optimizer):
    """Return a compiled training step."""

    @quick_jit
    def step(params, opt_state):
        def loss(params):
            return jnp.mean((model.apply({"params": params}, XS) - 1) ** 2)

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    return step


def close(a, b, atol=1e-6):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=atol), a, b)


def random_theirs():
    shapes = jax.eval_shape(Theirs().init, jax.random.key(0), XS)["params"]
    random = np.random.default_rng(0)
    return jax.tree.map(lambda a: random.normal(0, 0.5, a.shape).astype(a.dtype), shapes)


def test_training_goes_on_as_before():
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))
    train, params = stepper(Theirs(), optimizer), random_theirs()
    opt_state = optimizer.init(params)
    for _ in range(3):
        params, opt_state = train(params, opt_state)
    before = flax.take_over(params, RENAME), flax.take_over(opt_state, RENAME)
    after = stepper(Ours(), optimizer)(*before)
    expected = train(params, opt_state)
    close(after, (flax.take_over(expected[0], RENAME), flax.take_over(expected[1], RENAME)))
    assert not np.allclose(after[0]["LSTM_0"]["kernel"], before[0]["LSTM_0"]["kernel"])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_from_a_converted_state_is_the_converted_update(name):
    """The gradients are given, so that no model is compiled."""
    optimizer, params = OPTIMIZERS[name], random_theirs()
    gradients = jax.tree.map(np.sin, params)
    state = optimizer.update(gradients, optimizer.init(params), params)[1]

    def over(tree):
        return flax.take_over(tree, RENAME)

    ours = optimizer.update(over(gradients), over(state), over(params))
    theirs = optimizer.update(gradients, state, params)
    close(ours, (over(theirs[0]), over(theirs[1])))
    assert jax.tree.structure(over(state)) == jax.tree.structure(optimizer.init(over(params)))


def test_a_train_state():
    params = random_theirs()
    state = TrainState.create(apply_fn=Theirs().apply, params=params, tx=OPTIMIZERS["momentum"])
    state = state.apply_gradients(grads=params)
    ours = flax.take_over(state, RENAME)
    assert isinstance(ours, TrainState)
    assert (ours.step, ours.tx, ours.apply_fn) == (1, state.tx, state.apply_fn)
    close(ours.params, flax.take_over(state.params, RENAME))
    close(ours.opt_state, flax.take_over(state.opt_state, RENAME))


def restored_from_lists(tree):
    """A state as orbax restores it without a template: named tuples as dicts, tuples as lists."""
    if hasattr(tree, "_asdict"):
        return {k: restored_from_lists(v) for k, v in tree._asdict().items()} or None
    if isinstance(tree, tuple):
        return [restored_from_lists(part) for part in tree]
    return tree


@pytest.mark.parametrize("restore", [serialization.to_state_dict, restored_from_lists])
def test_a_checkpoint_that_was_restored_without_types(restore):
    params, optimizer = random_theirs(), OPTIMIZERS["adam"]
    opt_state = optimizer.init(params)
    restored = {"params": params, "opt_state": restore(opt_state), "step": 3}
    ours = flax.take_over({**restored, "params": {"params": params}}, RENAME)
    assert ours["params"].keys() == {"params"}
    assert ours["step"] == 3
    close(ours["opt_state"], restore(flax.take_over(opt_state, RENAME)))
    assert jax.tree.structure(flax.take_over(restore(opt_state), RENAME)) == jax.tree.structure(
        ours["opt_state"]
    )


def test_masks_that_were_restored_without_types():
    params, optimizer = random_theirs(), OPTIMIZERS["masked"]
    opt_state = optimizer.init(params)
    ours = flax.take_over(serialization.to_state_dict(opt_state), RENAME)
    expected = serialization.to_state_dict(flax.take_over(opt_state, RENAME))
    close(ours, expected)


def test_a_mask_of_some_gates_alone_is_refused():
    params = random_theirs()
    mask = jax.tree.map_with_path(lambda path, _: path[1].key in ("ii", "hi"), params)
    state = optax.masked(optax.adam(0.1), mask).init(params)
    with pytest.raises(ValueError, match=r"ii/kernel, .* are one array here: mask all of them"):
        flax.take_over(state, RENAME)


def test_an_optimizer_of_other_shapes_is_refused():
    state = optax.adafactor(0.1, min_dim_size_to_factor=2).init(random_theirs())
    with pytest.raises(ValueError, match=r"must have shape \[.*\]"):
        flax.take_over(state, RENAME)


def test_moments_of_the_two_biases_of_a_convolutional_lstm():
    cell = linen.ConvLSTMCell(2, (3,))
    carry = (np.zeros((4, 2), np.float32),) * 2
    params = jax.eval_shape(cell.init, jax.random.key(0), carry, np.ones((4, 3), np.float32))
    params = jax.tree.map(lambda a: np.ones(a.shape, a.dtype), params["params"])
    state = optax.trace(0.9).init(params)._replace(trace=params)
    for tree in (state, (state,), {"opt_state": [{"trace": params}]}, {"0": {"trace": params}}):
        biases = [
            leaf
            for path, leaf in jax.tree.leaves_with_path(flax.take_over(tree))
            if "bias" in jax.tree_util.keystr(path)
        ]
        assert [bias.tolist() for bias in biases] == [[1.0] * 8]
    assert flax.take_over({"params": params})["params"]["bias"].tolist() == [2, 2, 3, 3, 2, 2, 2, 2]


class TheirsInNNX(nnx.Module):
    def __init__(self, rngs):
        zeros = nnx.initializers.zeros
        self.rnn = nnx.RNN(nnx.GRUCell(3, 4, recurrent_kernel_init=zeros, rngs=rngs))
        self.head = nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, xs):
        return self.head(self.rnn(xs))


class OursInNNX(TheirsInNNX):
    def __init__(self, rngs):
        super().__init__(rngs)
        self.rnn = nnx_layers.GRU(3, 4, recurrent_kernel_init=nnx.initializers.zeros, rngs=rngs)


def test_an_optimizer_of_nnx():
    pair = [kind(nnx.Rngs(0)) for kind in (TheirsInNNX, OursInNNX)]
    theirs, ours = (nnx.Optimizer(model, optax.adam(0.1), wrt=nnx.Param) for model in pair)
    gradients = jax.tree.map(lambda a: jnp.sin(a + 1), nnx.state(pair[0], nnx.Param))
    theirs.update(pair[0], gradients)
    nnx.update(pair[1], flax.take_over(nnx.to_pure_dict(nnx.state(pair[0], nnx.Param))))
    nnx.update(ours, flax.take_over(nnx.to_pure_dict(nnx.state(theirs))))
    theirs.update(pair[0], gradients)
    converted = nnx.state(pair[1], nnx.Param)
    nnx.replace_by_pure_dict(converted, flax.take_over(nnx.to_pure_dict(gradients)))
    ours.update(pair[1], converted)
    expected = flax.take_over(nnx.to_pure_dict(nnx.state(pair[0], nnx.Param)))
    close(nnx.to_pure_dict(nnx.state(pair[1], nnx.Param)), expected)
