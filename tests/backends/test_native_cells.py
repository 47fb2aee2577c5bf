"""Which cells the native backend runs: those made of plain LSTMs; the scan runs the others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.testing import quick_jit
from tests.helpers.against_scan import (
    B,
    Numbers,
    T,
    agrees,
    assert_near,
    draw,
    flags,
    implementations,
    lengths_of,
    needs_native,
    results,
)
from tests.helpers.toys import may_fall_back

pytestmark = needs_native

COMPOSED = {
    "stack": (lj.stack(lj.LSTM(3, 8), lj.LSTM(8, 5), dropout=0.2), {"return_states": True}),
    "bidirectional": (lj.bidirectional(lj.LSTM(3, 5)), {"padding": "hold"}),
    "residual": (lj.residual(lj.LSTM(5, 5)), {"remat": 2}),
    "weight_drop": (lj.weight_drop(lj.LSTM(3, 5), 0.5), {"remat": 4}),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_cells_made_of_lstms(name):
    cell, options = COMPOSED[name]
    reset = flags((T, B), 0.3)
    key = None if name == "stack" else jax.random.key(0)
    agrees(cell, key=key, lengths=lengths_of(T, (B,)), reset=reset, **options)


def test_dropout_between_layers():
    cell = COMPOSED["stack"][0]
    numbers = draw(cell)
    got, wanted = (
        results(cell, numbers, implementation=name, key=jax.random.key(0))
        for name in ("cpu", "scan")
    )
    assert_near(got, wanted)


@may_fall_back
def test_rows_with_more_axes_than_their_masks():
    cell, rows = lj.stack(lj.ConvLSTM((4, 4, 3), 5, 3), lj.LSTM(5, 6)), (2, 4, 4)
    normal = np.random.default_rng(0).standard_normal
    params, xs = jax.tree.map(
        lambda leaf: jnp.asarray(normal(leaf.shape) / 4, jnp.float32),
        (jax.eval_shape(cell.init, jax.random.key(0)), np.zeros((T, *rows, 3))),
    )
    state = tuple(of.initial_state(axes) for of, axes in zip(cell.cells, ((2,), rows), strict=True))
    options = {"lengths": np.array([T, 4]), "padding": "hold"}
    chosen = lj.explain(cell, xs, state, implementation="cpu", **options).implementations
    assert chosen == ("scan", "cpu")
    got, wanted = (
        quick_jit(
            lambda xs, name=name: lj.unroll(cell, params, xs, state, implementation=name, **options)
        )(xs)
        for name in ("cpu", "scan")
    )
    assert_near((got, ()), (wanted, ()))


def test_a_bare_step_function_is_run_like_its_cell():
    cell = lj.LSTM(3, 5)
    params, xs, state = draw(cell)
    assert implementations(lj.lstm_step, Numbers(params, xs, state)) == {"cpu"}
    got = lj.unroll(lj.lstm_step, params, xs, tuple(state), implementation="cpu")
    wanted = lj.unroll(cell, params, xs, state, implementation="cpu")
    assert jax.tree.all(jax.tree.map(np.array_equal, got, wanted))


@may_fall_back
@pytest.mark.parametrize(
    ("cell", "options"),
    [
        (lj.lstm_step, {"reset": True}),  # resets return to the state that was passed
        (
            lj.learned_initial_state(lj.LSTM(3, 5)),
            {"reset": True},
        ),  # resets return to the learned one
        (lj.LSTM(3, 5), {"padding": "raw"}),
        (lj.LSTM(3, 5, activation=jnp.sin), {}),
        (lj.LSTM(3, 5, dtype=jnp.float16), {}),
    ],
    ids=["bare step", "learned state", "raw", "activation", "float16"],
)
def test_the_scan_runs_what_is_unsupported(cell, options):
    known = lj.LSTM(3, 5) if cell is lj.lstm_step else cell
    numbers = draw(known)
    if "reset" in options:
        options = {"reset": flags((T, B), 0.4)}
    options = {**options, "mask": flags((T, B), 0.7, 1)}
    got, wanted = (
        results(cell, numbers, implementation=name, **options) for name in ("cpu", "scan")
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, got, wanted))
