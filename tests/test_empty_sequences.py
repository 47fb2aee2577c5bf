"""Sequences without steps, and batches without rows."""

import chex
import jax
import jax.numpy as jnp
import pytest

import lstm_jax as lj
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
        total = sum(leaf.sum().astype(jnp.float32) for leaf in jax.tree.leaves(result))
        return total, result

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
    ("name", "implementation"),
    [("lstm", None), ("lstm", "scan"), ("slstm", None), ("min lstm", "parallel")],
)
def test_gradients_without_rows_are_zero(name, implementation):
    cell = EVERY[name]
    params, xs = example(cell, (3, 0))
    (total, _), grads = value_and_grads(cell, params, xs, implementation=implementation)
    assert total == 0
    assert not any(leaf.any() for leaf in jax.tree.leaves(grads))
