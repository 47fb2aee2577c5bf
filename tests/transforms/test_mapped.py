"""Plain functions between the cells of a stack, and around a cell."""

import copy
import pickle

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.param_dict import to_dict
from lstm_jax.testing import check_cell
from lstm_jax.transforms import map_inputs, map_outputs
from lstm_jax.transforms.sizes import input_size, output_size


def twice(h):
    return jnp.concatenate([h, 1 + h], axis=-1)


def normalized(h):
    """A function whose gradient at zero is NaN."""
    return h / jnp.sqrt(jnp.sum(h * h, axis=-1, keepdims=True))


CELL = lj.stack(lj.LSTM(3, 5), jax.nn.relu, twice, lj.GRU(10, 4), jnp.cos)
XS = jax.random.normal(jax.random.key(1), (6, 2, 3))
MASK = np.array([[1, 1], [1, 0], [0, 0], [1, 0], [0, 1], [1, 0]], bool)


def by_hand(params, xs):
    first, second = params
    final, hs = lj.unroll(lj.LSTM(3, 5), first, xs)
    top, ys = lj.unroll(lj.GRU(10, 4), second, twice(jax.nn.relu(hs)))
    return (final, top), jnp.cos(ys)


def test_is_the_same_as_by_hand():
    params = CELL.init(jax.random.key(0))
    final, ys = by_hand(params, XS)
    chex.assert_trees_all_close(lj.unroll(CELL, params, XS), (final, ys), atol=1e-6)
    state, y = lj.advance(CELL, params, None, XS[0])
    chex.assert_trees_all_close(y, ys[0], atol=1e-6)
    assert jax.tree.structure(state) == jax.tree.structure(final)


def test_layers_run_by_the_backend_that_runs_them_alone():
    selected = lj.explain(CELL, XS).implementations
    assert selected[0] == lj.explain(lj.LSTM(3, 5), XS).implementations[0]


def test_functions_have_no_parameters_and_no_state():
    params = CELL.init(jax.random.key(0))
    assert list(to_dict(params)) == ["layers_0", "layers_1"]
    shapes = jax.tree.map(jnp.shape, CELL.initial_state((2,)))
    assert shapes == (lj.LSTMState((2, 5), (2, 5)), lj.GRUState((2, 4)))


@pytest.mark.parametrize("padding", ["zero", "hold", "raw"])
@pytest.mark.parametrize("function", [jnp.cos, normalized])
def test_masked_steps_are_as_by_the_scan(padding, function):
    """Cosine makes ones of the zeros at masked steps, and the other NaN."""
    cell = lj.stack(jnp.sin, lj.LSTM(3, 5), function, lj.LSTM(5, 4), function)
    params = cell.init(jax.random.key(0))
    xs = XS.at[2].set(jnp.nan)

    def results(implementation):
        def loss(params, xs):
            result = lj.unroll(
                cell, params, xs, mask=MASK, padding=padding, implementation=implementation
            )
            valid = jnp.where(MASK[..., None], result[1], 0)
            return valid.sum(), (result[0], valid if padding == "raw" else result[1])

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, xs)

    actual, expected = results(None), results("scan")
    chex.assert_tree_all_finite(actual[1])
    chex.assert_trees_all_close(actual, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell",
    [
        lj.stack(lj.LSTM(3, 2), jnp.cos, lj.GRU(2, 2)),
        lj.stack(jnp.sin, lj.MinLSTM(3, 2), twice, lj.bidirectional(lj.GRU(4, 2))),
        lj.residual(map_outputs(lj.stack(lj.LSTM(3, 2), jnp.tanh, lj.LSTM(2, 3)), jnp.sin)),
    ],
    ids=repr,
)
def test_check_cell(cell):
    check_cell(cell, x=jnp.zeros(3))


def test_a_value_that_prints_and_copies():
    again = lj.stack([lj.LSTM(3, 5), jax.nn.relu, twice, lj.GRU(10, 4), jnp.cos])
    assert again == CELL
    assert hash(CELL) == hash(again)
    assert CELL == copy.deepcopy(CELL) == pickle.loads(pickle.dumps(CELL))
    assert lj.stack(lj.LSTM(3, 5), jnp.sin, lj.LSTM(5, 5)) != lj.stack(
        lj.LSTM(3, 5), jnp.cos, lj.LSTM(5, 5)
    )
    assert "function=relu), function=twice)" in repr(CELL)


def test_transforms_reach_the_cells_inside():
    cell = lj.zoneout(lj.stack(jnp.sin, lj.LSTM(3, 5), jnp.cos, lj.LSTM(5, 4)), h=0.5)
    assert repr(cell).count("Zoneout(cell=LSTM") == 2
    dropped = lj.stack(lj.LSTM(3, 5), twice, lj.LSTM(10, 4), dropout=1.0)
    params = dropped.init(jax.random.key(0))
    ys = lj.unroll(dropped, params, XS, key=jax.random.key(1))[1]
    nothing = lj.unroll(lj.LSTM(10, 4), params[1], jnp.zeros((6, 2, 10)))[1]
    chex.assert_trees_all_close(ys, nothing, atol=1e-6)  # dropped after the function, not before


def test_sizes():
    assert (input_size(CELL), output_size(CELL)) == (3, 4)
    assert output_size(map_outputs(CELL, twice)) == 8
    assert input_size(lj.stack(twice, lj.LSTM(6, 4))) is None
    assert output_size(map_outputs(lj.bidirectional(lj.GRU(3, 2), merge="none"), twice)) is None
    with pytest.raises(ValueError, match="layer 2 must have input_size 10, the output size of"):
        lj.stack(lj.LSTM(3, 5), twice, lj.LSTM(5, 4))
    grid = lj.stack(lj.ConvLSTM((4, 4, 3), 2, 3), lambda h: h[..., ::2, ::2, :])
    assert output_size(grid) == 2
    xs = jnp.ones((2, 5, 4, 4, 3))
    assert lj.unroll(grid, grid.init(jax.random.key(0)), xs)[1].shape == (2, 5, 2, 2, 2)


def test_inputs_may_have_other_axes_than_those_of_the_cell():
    cell = map_inputs(lj.LSTM(6, 4), lambda x: x.reshape(*x.shape[:-2], 6))
    xs = jnp.ones((5, 2, 2, 3))
    params = cell.init(jax.random.key(0))
    lengths = np.array([5, 3])
    final, ys = lj.unroll(cell, params, xs, lengths=lengths)
    assert (final.h.shape, ys.shape) == ((2, 4), (5, 2, 4))
    assert lj.transforms.gates(cell, params, final, xs[0]).i.shape == (2, 4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: lj.stack(jnp.sin, jnp.cos), TypeError, "stack: cell must have init"),
        (lambda: lj.stack(lj.LSTM(3, 5), nn.Dense(4)), TypeError, "got Dense"),
        (lambda: lj.stack(lj.LSTM(3, 5), lj.GRU), TypeError, "stack: cell must be a cell, not its"),
        (lambda: lj.stack(lj.LSTM(3, 5), 3), TypeError, "stack: cell must have init.*got int"),
        (
            lambda: lj.stack(lj.LSTM(3, 5), lj.lstm_step),
            TypeError,
            r"stack: lstm_step must take an array \[\.\.\., 5\]; .*missing 2 required",
        ),
        (
            lambda: lj.stack(lj.LSTM(3, 5), jnp.sum),
            ValueError,
            r"stack: sum must keep the leading axes of \[\.\.\., 5\]; it makes \(\) of \(2, 3, 5\)",
        ),
        (
            lambda: map_outputs(lj.LSTM(3, 5), lambda h: (h, h)),
            ValueError,
            r"map_outputs: <lambda> must keep .* it makes PyTreeDef\(\(\*, \*\)\)",
        ),
        (lambda: map_inputs(lj.LSTM(3, 5), 2), TypeError, "map_inputs: function must be a plain"),
        (lambda: map_outputs(jnp.sin, jnp.sin), TypeError, "map_outputs: cell must have init"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
