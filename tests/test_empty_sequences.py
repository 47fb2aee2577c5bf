"""Sequences without steps, and batches without rows."""

import chex
import jax
import jax.numpy as jnp
import pytest

import lstm_jax as lj

CELL = lj.LSTM(3, 5)
PARAMS = CELL.init(jax.random.key(0))


@pytest.mark.parametrize("remat", ["step", 4])
def test_no_steps_with_rematerialization(remat):
    final, outputs = lj.unroll(CELL, PARAMS, jnp.zeros((0, 2, 3)), remat=remat)
    assert outputs.shape == (0, 2, 5)
    chex.assert_trees_all_equal(final, CELL.initial_state((2,)))


def test_no_rows():
    xs = jnp.zeros((4, 0, 3))
    assert lj.unroll(CELL, PARAMS, xs)[1].shape == (4, 0, 5)
    assert lj.tbptt(CELL, PARAMS, xs, k1=2, k2=3)[1].shape == (4, 0, 5)
