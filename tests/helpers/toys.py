"""Cells whose outputs can be computed by hand, and what tests compare with."""

from dataclasses import dataclass
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax.cells.cell import identity, over_rows


@dataclass(frozen=True)
class Sum:
    """``h_t = h_{t-1} + x_t``, from `begin`: the output tells which steps were computed."""

    begin: float = 0.0
    input_size: int = 1

    def init(self, key):
        return ()

    def initial_state(self, batch_shape=()):
        return (jnp.full((*batch_shape, self.input_size), self.begin, float),)

    def step(self, params, state, x):
        return (state[0] + x,)


class EchoParams(NamedTuple):
    recurrent_kernel: jax.Array


class EchoState(NamedTuple):
    h: jax.Array
    c: jax.Array


@dataclass(frozen=True)
class Echo:
    """``h_t = on_candidate(x_t) * h_{t-1} * kernel`` and ``c_t = 0``, from ones.

    With inputs of ones and a reset before every step, the output is the mask of a dropout.
    """

    input_size: int

    def init(self, key):
        return EchoParams(jnp.ones(self.input_size))

    def initial_state(self, batch_shape=()):
        return EchoState(*[jnp.ones((*batch_shape, self.input_size))] * 2)

    def step(self, params, state, x, *, on_candidate=identity):
        h = on_candidate(x) * state.h
        return EchoState(h * over_rows(params.recurrent_kernel, h), jnp.zeros_like(state.c))


may_fall_back = pytest.mark.filterwarnings("ignore:.*the scan runs:UserWarning")
"""Of tests that name a backend also where it does not support the cell."""


def slow_case(*values, **options):
    """A case of a parametrised test that runs with the slow tests only."""
    return pytest.param(*values, marks=pytest.mark.slow, **options)


def column(*rows):
    """Rows of numbers as inputs ``[T, B, 1]``."""
    return jnp.asarray(np.array(rows, float).T[..., None])


def rows_of(outputs):
    """Outputs ``[T, B, 1]`` as rows of numbers."""
    return np.asarray(outputs)[..., 0].T.tolist()


def assert_close(actual, expected, tolerance=1e-12):
    """Raise unless two trees have one structure, the same shapes, and the same numbers."""
    chex.assert_trees_all_equal_shapes(actual, expected)
    chex.assert_trees_all_close(actual, expected, rtol=0, atol=tolerance)


def assert_leaves_close(actual, expected, tolerance=1e-12):
    """Raise unless two trees have the same numbers, in whatever structure."""
    expected = [np.asarray(leaf) for leaf in jax.tree.leaves(expected)]
    assert_close(jax.tree.leaves(actual), expected, tolerance)


def random_like(tree, seed=0):
    """Random numbers in float64 in the shapes of a tree, so that no term is hidden by a zero."""
    normal = np.random.default_rng(seed).standard_normal
    return jax.tree.map(lambda leaf: jnp.asarray(normal(leaf.shape) / 2), tree)
