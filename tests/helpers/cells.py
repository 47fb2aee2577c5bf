"""Helpers for the tests of all cells: random numbers for a cell, and a step against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import reference

# Inputs, units and batch axes.
CASES = pytest.mark.parametrize(
    ("n", "m", "batch"), [(1, 1, ()), (3, 5, ()), (3, 5, (4,)), (3, 5, (2, 3))]
)


def draw(cell, batch=(), dtype=jnp.float64, seed=0):
    """Random parameters, state and input; none is zero, so that every term counts."""
    normal = np.random.default_rng(seed).standard_normal
    params = jax.eval_shape(cell.init, jax.random.key(0))
    state = jax.eval_shape(lambda: cell.initial_state(batch))

    def param(leaf):  # matrices keep the scale of what they multiply
        return normal(leaf.shape) / np.sqrt(leaf.shape[0] if len(leaf.shape) == 2 else 1)

    numbers = (
        jax.tree.map(param, params),
        jax.tree.map(lambda leaf: normal(leaf.shape), state),
        normal((*batch, cell.input_size)),
    )
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), numbers)


def error(cell, equations, batch=(), dtype=jnp.float64):
    """The error of a step and its gates against `equations`, relative to their largest numbers.

    `equations` takes the parameters, the state and the input in NumPy, and returns the new state
    and the gates.
    """
    params, state, x = draw(cell, batch, dtype)
    with jax.default_matmul_precision("highest"):  # a GPU would otherwise round the products
        got = (cell.step(params, state, x), cell.gates(params, state, x))
    expected = equations(*jax.tree.map(reference.wide, (params, state, x)))
    return max(
        reference.relative_error(a, b)
        for new, old in zip(got, expected, strict=True)
        for a, b in zip(new, old, strict=True)
    )
