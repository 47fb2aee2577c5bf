"""Training as pure functions: updates, seeds and evaluation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config.model import model_config
from experiments.config.optimizer import Adam
from experiments.config.schema import Config, EvalConfig, TrainConfig
from experiments.model import make_model
from experiments.tasks import Adding, Copy
from experiments.training.train_step import make_train_functions

SMALL = Config(
    task=Adding(length=6),
    model=model_config(hidden_size=5),
    optimizer=Adam(learning_rate=1e-2),
    train=TrainConfig(batch_size=8, updates=100, log_every=10, eval_every=10),
    eval=EvalConfig(sequences=40, batch_size=10),
    seed=3,
)


def trained(config, updates, active=None):
    functions = make_train_functions(config)
    active = jnp.ones(config.seeds, bool) if active is None else jnp.asarray(active)
    return functions.train_steps((), functions.init(), active, updates)


def assert_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_an_update_is_gradient_then_clip_then_adam():
    """The first update against an explicit computation."""
    from experiments.training import keys

    states, stats = trained(SMALL, 1)
    model = make_model(SMALL.model, SMALL.task)
    params = model.init(keys.init_key(3))
    key = jax.random.fold_in(keys.data_key("train", 3), 0)
    batch = SMALL.task.sample((), "train", key, 8)
    loss, grads = jax.value_and_grad(
        lambda p: SMALL.task.loss(model.apply(p, batch.inputs), batch)
    )(params)
    norm = np.sqrt(sum(float((g**2).sum()) for g in jax.tree.leaves(grads)))
    scale = min(1.0, SMALL.optimizer.clip_norm / norm)
    assert float(stats.loss[0, 0]) == pytest.approx(float(loss), rel=1e-5)
    assert float(stats.grad_norm[0, 0]) == pytest.approx(norm, rel=1e-5)
    # Adam's first step has the size of the learning rate, whatever the gradient's.
    expected = jax.tree.map(
        lambda p, g: p - 1e-2 * scale * g / (abs(scale * g) + 1e-8), params, grads
    )
    assert_close(jax.tree.map(lambda p: p[0], states.params), expected, atol=1e-5)
    assert int(states.update[0]) == 1


def test_an_update_is_of_the_mean_gradient_of_its_batches():
    """The second update reads batches 3, 4 and 5."""
    from experiments.training import keys

    train = dataclasses.replace(SMALL.train, accumulate=3)
    functions = make_train_functions(dataclasses.replace(SMALL, train=train))
    states, _ = functions.train_steps((), functions.init(), jnp.ones(1, bool), 1)
    details = functions.details((), states)
    model = make_model(SMALL.model, SMALL.task)
    params = jax.tree.map(lambda leaf: leaf[0], states.params)

    def loss(params, number):
        batch = SMALL.task.sample((), "train", keys.batch_key(3, number), 8)
        return SMALL.task.loss(model.apply(params, batch.inputs), batch)

    found = [jax.value_and_grad(loss)(params, number) for number in (3, 4, 5)]
    mean = jax.tree.map(lambda *each: sum(each) / 3, *found)
    assert_close((details.loss[0], jax.tree.map(lambda g: g[0], details.grads)), mean, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("task", [Adding(length=6, min_length=2), Copy(delay=3, min_delay=1)])
def test_a_loss_over_mixed_lengths_is_that_of_every_sequence_alone(task):
    """Padding is neither read by the network nor counted in the loss."""
    from experiments.training import keys

    config = dataclasses.replace(SMALL, task=task)
    model = make_model(config.model, task)
    params = model.init(keys.init_key(3))
    key = jax.random.fold_in(keys.data_key("train", 3), 0)
    batch = task.sample((), "train", key, 8)
    losses, steps = [], []
    for row, length in enumerate(np.asarray(batch.lengths)):
        inputs, targets = batch.inputs[:length, row, None], batch.targets[:length, row, None]
        alone = batch._replace(inputs=inputs, targets=targets, lengths=None)
        losses.append(float(task.loss(model.apply(params, inputs), alone)))
        steps.append(int(length) if task.name == "copy" else 1)  # adding has one target
    _, stats = trained(config, 1)
    assert len(set(np.asarray(batch.lengths).tolist())) > 1
    assert float(stats.loss[0, 0]) == pytest.approx(np.average(losses, weights=steps), rel=1e-5)


def test_held_out_sequences_may_have_lengths(monkeypatch):
    """Of a task of one's own: a row of each part is evaluated with its own length."""
    sample = Adding.sample
    config = dataclasses.replace(SMALL, task=Adding(length=7, min_length=2))
    monkeypatch.setattr(
        Adding, "sample", lambda self, data, _, *rest: sample(self, data, "train", *rest)
    )
    (whole, parts) = (
        make_train_functions(dataclasses.replace(config, eval=EvalConfig(40, size)))
        for size in (40, 10)
    )
    params = whole.init().params
    assert_close(parts.evaluate((), "test", params), whole.evaluate((), "test", params), rtol=1e-5)


def test_many_updates_in_one_dispatch_equal_many_dispatches():
    functions = make_train_functions(SMALL)
    states, active = functions.init(), jnp.ones(1, bool)
    losses = []
    for _ in range(3):
        states, stats = functions.train_steps((), states, active, 2)
        losses.append(stats.loss)
    at_once, stats = trained(SMALL, 6)
    assert_equal(states, at_once)
    assert_equal(jnp.concatenate(losses, axis=1), stats.loss)


def test_the_states_are_donated():
    functions = make_train_functions(SMALL)
    states = functions.init()
    functions.train_steps((), states, jnp.ones(1, bool), 2)
    assert states.params.cell.recurrent_kernel.is_deleted()


@pytest.mark.slow
def test_seeds_train_together_as_alone():
    together, stats = trained(dataclasses.replace(SMALL, seeds=3), 5)
    for i in range(3):
        alone, alone_stats = trained(dataclasses.replace(SMALL, seed=3 + i), 5)
        assert_close(jax.tree.map(lambda a, i=i: a[i], together.params),
                     jax.tree.map(lambda a: a[0], alone.params), rtol=1e-4, atol=1e-6)  # fmt: skip
        np.testing.assert_allclose(stats.loss[i], alone_stats.loss[0], rtol=1e-4)
    kernels = together.params.cell.kernel
    assert not np.allclose(kernels[0], kernels[1])


@pytest.mark.slow
def test_the_state_of_an_inactive_seed_does_not_change():
    config = dataclasses.replace(SMALL, seeds=2)
    before = make_train_functions(config).init()
    after, _ = trained(config, 4, active=[True, False])
    assert_equal(jax.tree.map(lambda a: a[1], after), jax.tree.map(lambda a: a[1], before))
    assert after.update.tolist() == [4, 0]
    assert not np.array_equal(after.params.cell.kernel[0], before.params.cell.kernel[0])


def test_the_same_seed_gives_the_same_numbers_and_another_gives_others():
    once, _ = trained(SMALL, 5)
    again, _ = trained(SMALL, 5)
    other, _ = trained(dataclasses.replace(SMALL, seed=4), 5)
    assert_equal(once, again)
    assert not np.array_equal(once.params.cell.kernel, other.params.cell.kernel)


@pytest.mark.slow
@pytest.mark.parametrize("task", [Adding(length=6), Copy(delay=2)])
def test_evaluation_in_parts_is_the_mean_over_all_sequences(task):
    config = dataclasses.replace(SMALL, task=task)
    functions = make_train_functions(config)
    states = functions.init()
    in_parts = functions.evaluate((), "test", states.params)
    whole = make_train_functions(
        dataclasses.replace(config, eval=EvalConfig(sequences=40, batch_size=40))
    ).evaluate((), "test", states.params)
    assert_close(in_parts, whole, rtol=1e-5)
    assert set(in_parts) >= {task.metric, task.solved.metric}


@pytest.mark.slow
def test_training_learns():
    _, stats = trained(SMALL, 300)
    losses = np.asarray(stats.loss[0])
    assert losses[-50:].mean() < 0.5 * losses[:50].mean()
