"""Counts of operations, against counts by hand."""

import jax
import jax.numpy as jnp
import pytest

from experiments.config.model import model_config
from experiments.config.schema import Config, TrainConfig
from experiments.profiling.flops import product_flops
from experiments.profiling.measure import update_flops
from experiments.tasks import Adding


@pytest.mark.parametrize("implementation", [None, "scan"])
@pytest.mark.parametrize("remat", [None, 3])
def test_an_update_of_a_small_lstm_by_hand(implementation, remat):
    T, B, I, H, O, seeds = 7, 3, 2, 5, 1, 2  # noqa: E741
    config = Config(
        task=Adding(length=T),
        model=model_config(hidden_size=H, implementation=implementation, remat=remat),
        train=TrainConfig(batch_size=B),
        seeds=seeds,
    )
    gates, readout = 2 * B * 4 * H * (I + H), 2 * B * H * O
    # Backwards: the gradients of both kernels, that of h, and of the readout's kernel and input.
    backwards = gates + 2 * B * 4 * H * H + 2 * readout
    assert update_flops(config, ()) == seeds * T * (gates + readout + backwards)


def test_convolutions_loops_and_branches():
    def convolved(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    shapes = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5))
    assert product_flops(convolved, *shapes) == 2 * (4 * 4 * 5) * (3 * 3 * 2)
    a = jnp.ones((2, 2))
    assert product_flops(lambda a: jax.lax.map(lambda _: jax.jit(jnp.matmul)(a, a), a), a) == 32

    def branches(a):
        return jax.lax.cond(a[0, 0] > 0, lambda a: a @ a @ a, lambda a: a @ a, a)

    assert product_flops(branches, a) == 32
    assert product_flops(jax.checkpoint(lambda a: a @ a), a) == 16
    batched = jax.vmap(jnp.matmul)
    assert product_flops(batched, jnp.ones((6, 2, 3)), jnp.ones((6, 3, 4))) == 6 * 2 * 2 * 3 * 4
