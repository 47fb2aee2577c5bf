"""Cells whose every output can be worked out by hand."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax.cells.cell import identity


@dataclass(frozen=True)
class Sum:
    """``h_t = h_{t-1} + x_t``, from `begin`: it shows the steps that it has seen."""

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

    With inputs of ones and a reset before every step, it shows the mask of whatever is dropped.
    """

    input_size: int

    def init(self, key):
        return EchoParams(jnp.ones(self.input_size))

    def initial_state(self, batch_shape=()):
        return EchoState(*[jnp.ones((*batch_shape, self.input_size))] * 2)

    def step(self, params, state, x, *, on_candidate=identity):
        return EchoState(
            on_candidate(x) * state.h * params.recurrent_kernel, jnp.zeros_like(state.c)
        )


def slow_case(*values, **options):
    """A case of a parametrised test that is run with the slow tests only."""
    return pytest.param(*values, marks=pytest.mark.slow, **options)


def column(*rows):
    """Rows of numbers as inputs ``[T, B, 1]``."""
    return jnp.asarray(np.array(rows, float).T[..., None])


def shown(outputs):
    """Outputs ``[T, B, 1]`` as rows of numbers."""
    return np.asarray(outputs)[..., 0].T.tolist()


def assert_close(got, wanted, tolerance=1e-12):
    """Two trees of one structure, with the same numbers."""
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def assert_same_numbers(got, wanted, tolerance=1e-12):
    """Two trees with the same leaves, whatever they are in."""
    assert_close(jax.tree.leaves(got), [np.asarray(leaf) for leaf in jax.tree.leaves(wanted)])


def random_like(tree, seed=0):
    """Random numbers in float64 in the shapes of a tree, so that no term can hide."""
    normal = np.random.default_rng(seed).standard_normal
    return jax.tree.map(lambda leaf: jnp.asarray(normal(leaf.shape) / 2), tree)
