"""Sequences without steps, and batches without rows."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.testing import quick_jit
from tests.helpers.every import EVERY, example

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


def value_and_grads(cell, params, xs, **options):
    """Everything that an unroll returns, and the gradients of its sum."""

    def loss(params, xs):
        result = lj.unroll(cell, params, xs, **options, return_states=True)
        return sum(leaf.sum().astype(jnp.float32) for leaf in jax.tree.leaves(result)), result

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, xs)


@pytest.mark.parametrize("cell", EVERY.values(), ids=EVERY.keys())
@pytest.mark.parametrize("axes", [(3, 2, 0), pytest.param((0, 2), marks=pytest.mark.slow)], ids=str)
def test_no_rows_and_no_steps_for_every_cell(cell, axes):
    params, xs = example(cell, axes)
    mask = jnp.ones(axes, bool)
    (_, (final, outputs, states)), grads = jax.eval_shape(
        lambda params, xs: value_and_grads(cell, params, xs, mask=mask, reset=mask), params, xs
    )
    assert outputs.shape[: len(axes)] == axes
    assert all(leaf.shape[: len(axes) - 1] == axes[1:] for leaf in jax.tree.leaves(final))
    assert all(leaf.shape[0] == axes[0] + 1 for leaf in jax.tree.leaves(states))
    chex.assert_trees_all_equal_shapes_and_dtypes(grads, (params, xs))


@pytest.mark.parametrize(
    ("cell", "options", "batch"),
    [
        (CELL, {}, (0,)),
        (CELL, {"implementation": "scan", "padding": "hold", "remat": "step"}, (2, 0)),
        (CELL, {"remat": 3, "reverse": True}, (2, 0)),
        (CELL, {"padding": "raw", "return_states": True}, (0,)),
        (lj.MinLSTM(3, 5), {"implementation": "parallel", "padding": "raw"}, (0, 2)),
        (lj.bidirectional(CELL), {"padding": "hold"}, (0,)),
        (lj.SLSTM(3, 4, num_heads=2), {}, (2, 0)),
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
