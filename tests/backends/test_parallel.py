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


def test_a_plain_state_becomes_that_of_the_cell_as_by_the_scan():
    cell = lj.MinLSTM(3, 5)
    params, xs, h = cell.init(jax.random.key(0)), jnp.ones((6, 2, 3)), jnp.ones((2, 5))
    for implementation in ("scan", "parallel"):
        final, _ = lj.unroll(cell, params, xs, (h,), implementation=implementation)
        assert isinstance(final, lj.MinLSTMState)


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ((jnp.ones(5),) * 2, TypeError, r"MinLSTM.step: state must be a tuple \(h,\)"),
        (jnp.ones(5), ValueError, r"MinLSTM.step: h must have shape \(2, 5\)"),
    ],
)
def test_a_wrong_state_is_an_error_of_the_cell(state, error, message):
    cell = lj.MinLSTM(3, 5)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((6, 2, 3))
    for implementation in ("scan", "parallel"):
        with pytest.raises(error, match=message):
            lj.unroll(cell, params, xs, state, implementation=implementation)
