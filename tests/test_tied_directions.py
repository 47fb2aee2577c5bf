"""Both directions of time with the parameters of one cell."""

import chex
import jax
import jax.numpy as jnp
import pytest

import lstm_jax as lj
from lstm_jax.testing import check_cell, quick_jit
from tests.helpers.toys import slow_case

KEY = jax.random.key(0)
CELL = lj.LSTM(3, 5)
TIED = lj.bidirectional(CELL, tied=True)
LENGTHS = jnp.array([4, 2])


@pytest.fixture
def xs():
    return jax.random.normal(KEY, (4, 2, 3))


@pytest.mark.parametrize("implementation", [slow_case("scan"), None])
def test_tied_directions_are_two_with_equal_parameters(xs, implementation):
    two, params = lj.bidirectional(CELL), TIED.init(KEY)
    chex.assert_trees_all_equal(params, CELL.init(KEY))

    def loss(cell, params):
        options = {"lengths": LENGTHS, "implementation": implementation}
        final, outputs = lj.unroll(cell, params, xs, **options)
        return jnp.sum(jnp.sin(outputs)) + jnp.sum(final.backward.c), outputs

    def run(cell, params):
        return quick_jit(jax.value_and_grad(lambda p: loss(cell, p), has_aux=True))(params)

    (_, outputs), grads = run(TIED, params)
    (_, wanted), of_both = run(two, lj.Directions(params, params))
    chex.assert_trees_all_close(outputs, wanted, rtol=1e-6, atol=1e-6)
    summed = jax.tree.map(jnp.add, *of_both)
    chex.assert_trees_all_close(grads, summed, rtol=1e-5, atol=1e-5)


def test_the_backend_of_each_direction_is_that_of_two():
    x = jax.ShapeDtypeStruct((4, 2, 3), jnp.float32)
    tied, two = (lj.explain(cell, x).implementations for cell in (TIED, lj.bidirectional(CELL)))
    assert tied == two


def test_masks_of_dropout_differ_in_the_directions():
    drop = lj.weight_drop(lj.TanhRNN(1, 40), 0.5)
    cell = lj.bidirectional(drop, tied=True, merge="none")
    params = cell.init(KEY)
    ones = jax.tree.map(jnp.ones_like, params)
    sampled = cell.sample_params(ones, jax.random.key(1))
    assert not jnp.array_equal(sampled.forward.recurrent_kernel, sampled.backward.recurrent_kernel)
    xs = jnp.ones((3, 1, 1))
    # A sequence of equal inputs is the same in both directions, but for the masks.
    _, (ahead, back) = lj.unroll(cell, params, xs)
    assert jnp.allclose(ahead, back[::-1], atol=1e-6)
    _, (ahead, back) = lj.unroll(cell, params, xs, key=jax.random.key(1))
    assert not jnp.allclose(ahead, back[::-1])


def test_tied_cells_in_and_around_other_cells(xs):
    learned = lj.learned_initial_state(lj.bidirectional(lj.GRU(3, 5), tied=True))
    params = learned.init(KEY)
    final, _ = lj.unroll(learned, params, xs)
    assert params.state.h.shape == (5,)
    assert final.forward.h.shape == (2, 5)
    inside = lj.bidirectional(lj.stack(TIED, lj.GRU(10, 4)), tied=True)
    assert lj.unroll(inside, inside.init(KEY), xs)[1].shape == (4, 2, 8)
    assert lj.bidirectional(CELL, CELL, tied=True) == TIED != lj.bidirectional(CELL)
    assert "tied=True" in repr(TIED)


@pytest.mark.parametrize("cell", [slow_case(TIED), slow_case(lj.bidirectional(TIED, tied=True))])
def test_checked_against_the_slow_reference(cell):
    check_cell(cell)


def test_two_different_cells_are_not_tied():
    with pytest.raises(ValueError, match="with tied=True both directions are one cell; got LSTM"):
        lj.bidirectional(CELL, lj.LSTM(3, 6), tied=True)
