"""States of any container and of integers work as the cell's own, for every cell and transform."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.transforms.own_structure import own_state
from lstm_jax.transforms.transform import initial_state
from tests.helpers.every import EVERY, WITH_STEPS, example


def single(trees):
    return pytest.mark.parametrize("cell", trees.values(), ids=trees.keys())


def in_integers(tree, dtype):
    return jax.tree.map(lambda leaf: jnp.ones(leaf.shape, dtype), tree)


def in_floats(tree):
    return jax.tree.map(jnp.ones_like, tree)


def plain(tree):
    """Tuples in place of NamedTuples, and bare arrays for those of one field."""
    if isinstance(tree, jax.Array):
        return tree
    return plain(tree[0]) if len(tree) == 1 else tuple(map(plain, tree))


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    chex.assert_trees_all_equal(actual, expected)


@single(WITH_STEPS)
def test_a_step_from_integers_is_that_from_floats(cell):
    params, x = example(cell)
    own = initial_state(cell, params, (2,))
    expected = lj.advance(cell, params, in_floats(own), x)
    assert_same(lj.advance(cell, params, in_integers(own, jnp.bool_), x), expected)
    leaves, structure = jax.tree.flatten(in_floats(own))
    mixed = structure.unflatten([*leaves[:-1], leaves[-1].astype(jnp.int32)])
    assert_same(cell.step(params, mixed, x), expected[0])


@single(WITH_STEPS)
def test_a_step_from_plain_tuples_and_bare_arrays(cell):
    params, x = example(cell)
    own = in_floats(initial_state(cell, params, (2,)))
    assert_same(lj.advance(cell, params, plain(own), x), lj.advance(cell, params, own, x))
    assert_same(cell.step(params, plain(own), x), cell.step(params, own, x))


@pytest.mark.parametrize("name", ["lstm", "gru", "slstm", "deep", "bidirectional gru", "learned"])
@pytest.mark.parametrize("convert", [plain, lambda own: in_integers(own, jnp.int32)])
def test_unroll(name, convert):
    cell = EVERY[name]
    params, xs = example(cell, (3, 2))
    own = in_floats(initial_state(cell, params, (2,)))
    reset = np.array([[False, False], [True, False], [False, False]])
    options: dict[str, Any] = {"reset": reset, "return_states": True}
    expected = lj.unroll(cell, params, xs, own, **options)
    assert_same(lj.unroll(cell, params, xs, convert(own), **options), expected)


def test_the_native_backend_reads_the_promoted_state():
    cell, zeros = lj.LSTM(3, 5), jnp.zeros((2, 5), jnp.int32)
    xs = jnp.ones((7, 2, 3))
    selected = lj.explain(cell, xs, (zeros, zeros)).implementations
    assert selected == lj.explain(cell, xs).implementations


def test_the_gradient_has_the_structure_of_what_was_given():
    cell, xs = lj.stack(lj.GRU(3, 2), lj.LSTM(2, 2)), jnp.ones((3, 4, 3))
    params, zeros = cell.init(jax.random.key(0)), jnp.zeros((4, 2))
    state = [zeros, {"h": zeros, "c": zeros}]
    grads = jax.grad(lambda state: lj.unroll(cell, params, xs, state)[1].sum())(state)
    assert jax.tree.structure(grads) == jax.tree.structure(state)
    assert all(leaf.any() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("reset", [None, np.ones((3, 2), bool)])
def test_lstm_step_is_as_the_lstm(reset):
    cell, xs = lj.LSTM(3, 5), jnp.ones((3, 2, 3))
    params, zeros = cell.init(jax.random.key(0)), jnp.zeros((2, 5), jnp.int32)
    final, _ = lj.unroll(lj.lstm_step, params, xs, (zeros, zeros), reset=reset)
    chex.assert_trees_all_close(final, lj.unroll(cell, params, xs, reset=reset)[0], atol=1e-6)
    assert lj.lstm_step(params, (zeros, zeros), xs[0]).h.dtype == jnp.float32
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    new = lj.lstm_step(low, (zeros, zeros), xs[0])
    assert (new.h.dtype, new.c.dtype) == (jnp.bfloat16, jnp.float32)


class Counted(NamedTuple):
    h: Any
    steps: Any


class Counter:
    """A cell that counts its steps in an integer."""

    def init(self, key):
        return {}

    def initial_state(self, batch_shape=()):
        return Counted(jnp.zeros(batch_shape), jnp.zeros(batch_shape, jnp.int32))

    def step(self, params, state, x):
        return Counted(state.h + x, state.steps + 1)


def test_integers_that_a_cell_counts_with_stay_integers():
    xs, one = jnp.ones((3, 2)), jnp.ones(2, jnp.int32)
    state = Counted(one, one)
    final, _ = lj.unroll(Counter(), {}, xs, state)
    assert (final.h.dtype, final.steps.dtype) == (jnp.float32, jnp.int32)
    assert final.steps.tolist() == [4, 4]

    def step(params, state, x):
        return (state[0] + params,)

    assert lj.unroll(step, jnp.asarray(1), xs, (one,))[1].dtype == jnp.int32


def test_what_does_not_fit_is_as_it_was():
    cell = lj.stack(lj.GRU(3, 2), lj.LSTM(2, 2))
    for wrong in (jnp.zeros(2), [jnp.zeros(2)], {"layers_0": jnp.zeros(2)}, None):
        assert own_state(cell, None, wrong) is wrong
    halves = own_state(cell, None, (jnp.zeros(2), jnp.zeros(2)))
    assert isinstance(halves[0], lj.GRUState)
    assert isinstance(halves[1], jax.Array)


@dataclass(frozen=True)
class Named:
    """A cell whose name for its state is not compared."""

    state_type: Any = field(compare=False)

    def init(self, key):
        return ()

    def initial_state(self, batch_shape=()):
        return self.state_type(jnp.zeros((*batch_shape, 1)))

    def step(self, params, state, x):
        return self.state_type(state[0] + x)


@pytest.mark.parametrize("wrap", [lambda cell: cell, lj.residual], ids=["bare", "in a transform"])
def test_equal_cells_of_others_have_containers_of_their_own(wrap):
    for state_type in (lj.GRUState, lj.cells.MinLSTMState):
        state = own_state(wrap(Named(state_type)), (), [jnp.zeros(1)])
        assert type(state) is state_type
