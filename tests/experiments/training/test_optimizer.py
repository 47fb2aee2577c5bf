"""The optimizer: rules against optax and NumPy, schedules, clipping, averages, and lanes."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pydantic import ValidationError

from experiments.config.optimizer import (
    SGD,
    Adam,
    AdamW,
    Lion,
    RMSprop,
    optimizer_class,
)
from experiments.training.optimizer import (
    depends_on_updates,
    evaluation_params,
    make_optimizer,
    make_schedule,
)
from tests.helpers.toys import slow_case

UPDATES = 6
FREE = {"clip_norm": None}
PARAMS = {
    "kernel": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3),
    "bias": jnp.array([0.5, -0.25]),
}


def grads_at(update):
    key = jax.random.fold_in(jax.random.key(7), update)
    return {
        name: 3.0 * jax.random.normal(jax.random.fold_in(key, i), leaf.shape, leaf.dtype)
        for i, (name, leaf) in enumerate(PARAMS.items())
    }


def trained(optimizer, params=PARAMS, updates=UPDATES):
    """The parameters and the state after some updates."""
    state = optimizer.init(params)
    for update in range(updates):
        changes, state = optimizer.update(grads_at(update), state, params)
        params = optax.apply_updates(params, changes)
    return params, state


def agree(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


RULES = [
    (Adam(b1=0.8, b2=0.95, eps=1e-6, **FREE), optax.adam(1e-3, b1=0.8, b2=0.95, eps=1e-6)),
    (AdamW(learning_rate=0.1, weight_decay=0.2, **FREE),
        optax.adamw(0.1, weight_decay=0.2, mask={"kernel": True, "bias": False})),
    (SGD(learning_rate=0.1, **FREE), optax.sgd(0.1)),
    (SGD(momentum=0.9, nesterov=True, **FREE), optax.sgd(1e-3, momentum=0.9, nesterov=True)),
    (RMSprop(decay=0.8, momentum=0.5, **FREE), optax.rmsprop(1e-3, decay=0.8, momentum=0.5)),
    (Lion(b1=0.7, weight_decay=0.1, **FREE),
        optax.lion(1e-3, b1=0.7, weight_decay=0.1, mask={"kernel": True, "bias": False})),
    (optimizer_class("optax:adabelief")(b1=0.7, **FREE), optax.adabelief(1e-3, b1=0.7)),
    (optimizer_class("optax:lamb")(weight_decay=0.1, **FREE),
        optax.lamb(1e-3, weight_decay=0.1, mask={"kernel": True, "bias": False})),
    (Adam(clip_value=0.5, clip_norm=None), optax.chain(optax.clip(0.5), optax.adam(1e-3))),
    (SGD(clip_norm=0.3), optax.chain(optax.clip_by_global_norm(0.3), optax.sgd(1e-3))),
]  # fmt: skip


@pytest.mark.parametrize(("config", "peer"), RULES, ids=lambda each: getattr(each, "name", ""))
def test_a_rule_is_that_of_optax(config, peer):
    with jax.numpy_dtype_promotion("standard"):
        wanted = trained(peer)[0]
    agree(trained(make_optimizer(config, UPDATES))[0], wanted, rtol=1e-6)


def numpy_adamw(config, params):
    m = v = 0.0
    for update in range(UPDATES):
        g = np.asarray(grads_at(update)["kernel"], np.float64)
        m = config.b1 * m + (1 - config.b1) * g
        v = config.b2 * v + (1 - config.b2) * g**2
        hats = m / (1 - config.b1 ** (update + 1)), v / (1 - config.b2 ** (update + 1))
        step = hats[0] / (np.sqrt(hats[1]) + config.eps) + config.weight_decay * params
        params = params - config.learning_rate * step
    return params


def numpy_momentum(config, params):
    total = 0.0
    for update in range(UPDATES):
        total = config.momentum * total + np.asarray(grads_at(update)["kernel"], np.float64)
        params = params - config.learning_rate * total
    return params


def numpy_rmsprop(config, params):
    v = 0.0
    for update in range(UPDATES):
        g = np.asarray(grads_at(update)["kernel"], np.float64)
        v = config.decay * v + (1 - config.decay) * g**2
        params = params - config.learning_rate * g / np.sqrt(v + config.eps)
    return params


def numpy_lion(config, params):
    m = 0.0
    for update in range(UPDATES):
        g = np.asarray(grads_at(update)["kernel"], np.float64)
        step = np.sign(config.b1 * m + (1 - config.b1) * g) + config.weight_decay * params
        m = config.b2 * m + (1 - config.b2) * g
        params = params - config.learning_rate * step
    return params


@pytest.mark.parametrize(
    ("config", "equations"),
    [
        (AdamW(learning_rate=0.1, weight_decay=0.2, **FREE), numpy_adamw),
        (SGD(learning_rate=0.1, momentum=0.9, **FREE), numpy_momentum),
        (RMSprop(learning_rate=0.1, **FREE), numpy_rmsprop),
        (Lion(learning_rate=0.1, weight_decay=0.2, **FREE), numpy_lion),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_a_rule_is_its_equations_in_float64(config, equations):
    kernel = trained(make_optimizer(config, UPDATES))[0]["kernel"]
    wanted = equations(config, np.asarray(PARAMS["kernel"], np.float64))
    np.testing.assert_allclose(kernel, wanted, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("constant", [0.0, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5]),
        ("linear", [0.0, 0.25, 0.5, 0.4, 0.3, 0.2, 0.1]),
        ("cosine", [0.0, 0.25, 0.5, 0.3 + 0.2 * np.cos(np.pi / 4), 0.3,
            0.3 - 0.2 * np.cos(np.pi / 4), 0.1]),
    ],
)  # fmt: skip
def test_the_learning_rate_rises_then_follows_the_schedule(schedule, wanted):
    config = SGD(learning_rate=0.5, schedule=schedule, final_learning_rate=0.1, warmup_updates=2)
    rate = make_schedule(config, UPDATES)
    np.testing.assert_allclose([rate(update) for update in range(7)], wanted, atol=1e-6)
    assert depends_on_updates(config) == (schedule != "constant")


def test_gradients_are_clipped_by_their_global_norm():
    grads = {"a": jnp.array([30.0, 40.0]), "b": jnp.zeros(2)}
    optimizer = make_optimizer(SGD(learning_rate=1.0, clip_norm=5.0), UPDATES)
    steps, _ = optimizer.update(grads, optimizer.init(grads), grads)
    np.testing.assert_allclose(steps["a"], [-3.0, -4.0], rtol=1e-6)
    optimizer = make_optimizer(SGD(learning_rate=1.0, clip_norm=None, clip_value=35.0), UPDATES)
    steps, _ = optimizer.update(grads, optimizer.init(grads), grads)
    np.testing.assert_allclose(steps["a"], [-30.0, -35.0], rtol=1e-6)


def test_weights_are_averaged_for_evaluation_only():
    config = SGD(learning_rate=0.1, average=0.6)
    plain = SGD(learning_rate=0.1)
    optimizer, params = make_optimizer(config, UPDATES), PARAMS
    state, average, weights = optimizer.init(params), 0.0, []
    agree(evaluation_params(config, state, params), params)
    for update in range(UPDATES):
        changes, state = optimizer.update(grads_at(update), state, params)
        params = optax.apply_updates(params, changes)
        weights.append(np.asarray(params["kernel"], np.float64))
        # A mean of all weights, until it is as long as the decay.
        d = min(0.6, update / (update + 1))
        average = d * average + (1 - d) * weights[-1]
        shown = evaluation_params(config, state, params)["kernel"]
        np.testing.assert_allclose(shown, average, rtol=1e-5)
        if update < 2:
            np.testing.assert_allclose(shown, np.mean(weights, axis=0), rtol=1e-5)
    agree(params, trained(make_optimizer(plain, UPDATES))[0])
    agree(evaluation_params(plain, None, params), params)


LANES = [
    (Adam(), "learning_rate", (1e-3, 1e-1)),
    slow_case(Adam(), "b1", (0.0, 0.9)),
    slow_case(Adam(), "b2", (0.9, 0.99)),
    slow_case(Adam(), "eps", (1e-8, 1e-2)),
    (SGD(), "clip_norm", (0.1, 100.0)),
    slow_case(SGD(clip_value=1.0), "clip_value", (0.1, 100.0)),
    slow_case(SGD(momentum=0.5), "momentum", (0.1, 0.9)),
    (AdamW(), "weight_decay", (0.0, 0.5)),
    slow_case(Lion(), "weight_decay", (0.0, 0.5)),
    slow_case(Lion(), "b2", (0.1, 0.5)),
    slow_case(RMSprop(), "decay", (0.5, 0.9)),
    (SGD(average=0.5), "average", (0.2, 0.9)),
    slow_case(SGD(schedule="cosine", warmup_updates=1), "final_learning_rate", (0.0, 1e-3)),
    slow_case(SGD(schedule="linear"), "final_learning_rate", (0.0, 1e-3)),
    slow_case(SGD(schedule="cosine"), "learning_rate", (1e-2, 1e-1)),
]


@pytest.mark.parametrize(("config", "name", "values"), LANES)
def test_lanes_with_traced_fields_are_as_alone(config, name, values):
    def train(value):
        own = copy.copy(config)
        object.__setattr__(own, name, value)
        params, state = trained(make_optimizer(own, UPDATES), updates=3)
        return params, evaluation_params(own, state, params)

    together = jax.jit(jax.vmap(train))(jnp.array(values))
    alone = [train(value) for value in values]
    assert any(not np.allclose(*each) for each in zip(*map(jax.tree.leaves, alone), strict=True))
    for i, wanted in enumerate(alone):
        agree(jax.tree.map(lambda leaf, i=i: leaf[i], together), wanted, rtol=2e-5, atol=1e-7)


def test_every_number_of_an_optimizer_may_differ_between_lanes():
    for cls in (Adam, AdamW, SGD, RMSprop, Lion):
        for name, info in cls.__pydantic_fields__.items():
            lane = "Lane" in repr(info)
            assert lane == ("float" in repr(info.annotation)), (cls, name)


def test_nesterov_needs_momentum():
    with pytest.raises(ValidationError, match="nesterov: has no effect without momentum"):
        SGD(nesterov=True)
