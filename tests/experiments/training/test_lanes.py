"""Lanes train together under one vmap as each would alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.model import Model, make_model
from experiments.tasks import Batch
from experiments.training import keys, train_step
from experiments.training.lanes import Lanes
from experiments.training.train_step import in_parts, make_train_functions
from tests.helpers.small_config import small_config

CONFIG = small_config({"optimizer.learning_rate": 1e-2, "seed": 3})
LANES = Lanes(
    (3, 3, 4),
    {"optimizer.learning_rate": (1e-2, 1e-1, 1e-2), "optimizer.b1": (0.9, 0.5, 0.9)},
)


def trained(config, lanes=None, updates=5):
    functions = make_train_functions(config, lanes)
    active = jnp.ones(len(functions.lanes), bool)
    states, stats = functions.train_steps((), functions.init(), active, updates)
    return states, stats, functions.evaluate((), "test", functions.evaluation_params(states))


def lane_of(tree, lane):
    return jax.tree.map(lambda leaf: leaf[lane], tree)


@pytest.fixture(scope="module")
def together():
    return trained(CONFIG, LANES)


@pytest.mark.parametrize("lane", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_lane_trains_as_a_run_with_its_values_alone(together, lane):
    alone = trained(LANES.config(CONFIG, lane))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        lane_of(together, lane),
        lane_of(alone, 0),
    )


def test_lanes_differ_by_their_values_and_by_their_seeds(together):
    kernels = np.asarray(together[0].params.cell.kernel)
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-2
    assert np.abs(kernels[0] - kernels[2]).max() > 1e-2
    start = make_train_functions(CONFIG, LANES).init().params.cell.kernel
    np.testing.assert_array_equal(start[0], start[1])


def test_the_same_lanes_give_the_same_numbers_bit_for_bit(together):
    jax.tree.map(np.testing.assert_array_equal, together, trained(CONFIG, LANES))


def test_values_promote_as_python_floats_do():
    values = LANES.arrays().values["optimizer.learning_rate"]
    assert values.weak_type
    assert (values * jnp.ones((), jnp.bfloat16)).dtype == jnp.bfloat16


def test_equal_lanes_are_compiled_once():
    other = Lanes(LANES.seeds, dict(reversed(LANES.values.items())))
    assert make_train_functions(CONFIG, other) is make_train_functions(CONFIG, LANES)
    plain = dataclasses.replace(CONFIG, seeds=2)
    assert make_train_functions(plain) is make_train_functions(plain, Lanes((3, 4)))


def test_lanes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"optimizer.b1 must have a value per lane \(2\); got 1"):
        Lanes((0, 1), {"optimizer.b1": (0.9,)})
    with pytest.raises(ValueError, match="at least one seed"):
        Lanes(())
    with pytest.raises(KeyError, match="rate"):
        make_train_functions(CONFIG, Lanes((0,), {"optimizer.rate": (0.1,)}))


def test_training_draws_with_a_key_per_update_and_evaluation_does_not(monkeypatch):
    """A model with noise on its outputs, which shows the key that it was given."""
    apply = Model.apply

    def with_noise(self, params, inputs, lengths=None, key=None):
        outputs = apply(self, params, inputs, lengths, key)
        return outputs if key is None else outputs + jax.random.normal(key, outputs.shape)

    lanes = Lanes((5, 6))
    config = small_config({"seed": 5, "seeds": 2})
    monkeypatch.setattr(Model, "apply", with_noise)
    functions = train_step.make_functions(config, lanes)
    start = functions.init()
    params = jax.tree.map(jnp.copy, start.params)
    _, stats = functions.train_steps((), start, jnp.ones(2, bool), 1)
    noisy = functions.evaluate((), "test", params)
    jax.tree.map(
        np.testing.assert_array_equal,
        noisy,
        make_train_functions(config).evaluate((), "test", params),
    )
    for lane, seed in enumerate(lanes.seeds):
        batch = config.task.sample((), "train", keys.batch_key(seed, 0), 4)
        model = make_model(config.model, config.task)
        key = keys.draws_key(seed, 0)
        outputs = with_noise(model, lane_of(params, lane), batch.inputs, key=key)
        np.testing.assert_allclose(stats.loss[lane, 0], config.task.loss(outputs, batch), rtol=1e-5)


def test_parts_of_a_batch_keep_sequences_together():
    batch = Batch(jnp.arange(12).reshape(2, 6), jnp.arange(6)[None], jnp.arange(6))
    parts = in_parts(batch, 2)
    assert parts.inputs.tolist() == [[[0, 1], [6, 7]], [[2, 3], [8, 9]], [[4, 5], [10, 11]]]
    assert parts.targets.tolist() == [[[0, 1]], [[2, 3]], [[4, 5]]]
    assert parts.lengths is not None
    assert parts.lengths.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert in_parts(batch._replace(lengths=None), 2).lengths is None


def test_each_purpose_has_keys_of_its_own():
    made = [keys.init_key(0), keys.draws_key(0, 0), keys.data_key("train", 0),
            keys.data_key("validation", 0), keys.data_key("test", 0)]  # fmt: skip
    assert len({tuple(jax.random.key_data(key).tolist()) for key in made}) == 5
