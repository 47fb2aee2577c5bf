"""The optimizer: schedule and clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.config.optimizer import Adam, RMSprop
from experiments.training.optimizer import make_optimizer


def test_learning_rate_rises_then_follows_the_schedule():
    """With Adam and constant gradients, the step size is the learning rate."""
    optimizer = make_optimizer(
        Adam(learning_rate=0.5, schedule="cosine", warmup_updates=2, clip_norm=None), 10
    )
    params = jnp.zeros(())
    state, steps = optimizer.init(params), []
    for _ in range(11):
        update, state = optimizer.update(jnp.ones(()), state, params)
        steps.append(-float(update))
    assert steps[0] == 0
    assert steps[1] == pytest.approx(0.25, rel=1e-3)
    assert steps[2] == pytest.approx(0.5, rel=1e-3)
    assert steps[6] == pytest.approx(0.25, rel=1e-3)
    assert steps[10] == pytest.approx(0.0, abs=1e-6)


def test_gradients_are_clipped_by_their_global_norm():
    clipped = make_optimizer(RMSprop(clip_norm=1.0), 10)
    free = make_optimizer(RMSprop(clip_norm=None), 10)
    grads = {"a": jnp.array([30.0, 40.0]), "b": jnp.zeros(2)}
    params = jax.tree.map(jnp.zeros_like, grads)

    # These optimizers divide by the size of the gradient, so compare their states, not their steps.
    def second_moment(optimizer):
        _, state = optimizer.update(grads, optimizer.init(params), params)
        return optax.tree.get(state, "nu")["a"]

    np.testing.assert_allclose(second_moment(free) / second_moment(clipped), 2500, rtol=1e-4)
