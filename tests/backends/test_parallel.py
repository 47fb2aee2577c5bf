"""The backend `parallel` against the scan."""

import jax
import jax.numpy as jnp
import pytest

import lstm_jax as lj


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("implementation", ["scan", "parallel"])
def test_a_masked_row_keeps_its_state_to_the_last_digit(implementation):
    cell = lj.MinLSTM(3, 5)
    key = jax.random.key(0)
    params, xs, third = cell.init(key), jax.random.normal(key, (6, 2, 3)), jnp.full((2, 5), 1 / 3)
    mask = jnp.zeros((6, 2), bool)
    (h,), _ = lj.unroll(cell, params, xs, (third,), mask=mask, implementation=implementation)
    assert jnp.array_equal(h, third)
