"""Sequences without steps, and batches without rows."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.testing import quick_jit

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


@pytest.mark.parametrize(
    ("cell", "options", "batch"),
    [
        (CELL, {}, (0,)),
        (CELL, {"implementation": "scan", "padding": "hold", "remat": "step"}, (2, 0)),
        (CELL, {"remat": 3, "reverse": True}, (2, 0)),
        (CELL, {"padding": "raw", "return_states": True}, (0,)),
        (lj.MinLSTM(3, 5), {"implementation": "parallel", "padding": "raw"}, (0, 2)),
        (lj.bidirectional(CELL), {"padding": "hold"}, (0,)),
    ],
)
def test_no_rows_with_masks_and_resets_and_a_gradient(cell, options, batch):
    flags, xs = np.zeros((4, *batch)), jnp.zeros((4, *batch, 3))
    params = cell.init(jax.random.key(0))
    ragged = {"lengths": np.zeros(batch, int)} if "remat" in options else {"mask": flags}

    def loss(params, xs):
        final, outputs, *states = lj.unroll(cell, params, xs, reset=flags, **ragged, **options)
        assert outputs.shape[:-1] == (4, *batch)
        return sum(leaf.sum() for leaf in jax.tree.leaves((final, outputs, states)))

    of_params, of_xs = quick_jit(jax.grad(loss, (0, 1)))(params, xs)
    assert of_xs.shape == xs.shape
    assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(of_params))
