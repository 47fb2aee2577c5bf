from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import LSTM, LSTMParams, LSTMState, TanhRNN, lstm_step, unroll
from lstm_jax.types import Cell
from tests import reference


def draw(T=7, batch=(2,), dtype=jnp.float64):
    """A cell, its parameters, inputs and a first state."""
    problem = reference.draw(3, 5, batch, T)
    params, xs, state = jax.tree.map(lambda a: jnp.asarray(a, dtype), problem)
    return LSTM(3, 5, dtype=dtype), LSTMParams(*params), xs, LSTMState(*state)


def assert_close(a, b, tolerance=1e-12):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_is_a_python_loop_and_the_equations(batch):
    cell, params, xs, state = draw(batch=batch)
    final, outputs = unroll(cell, params, xs, state)
    assert outputs.shape == (7, *batch, 5)

    loop_final, states = reference.loop(cell.step, params, xs, state)
    assert_close(final, loop_final)
    assert_close(outputs, jnp.stack([s.h for s in states]))

    w, (h, c) = reference.weights_of(params), map(np.asarray, state)
    numpy_final, hs = reference.run(w, np.asarray(xs), h, c)
    assert_close(tuple(final), numpy_final)
    assert_close(outputs, hs)


@pytest.mark.parametrize("cell", [LSTM(3, 5), TanhRNN(3, 5)])
def test_final_is_the_last_output_and_starts_from_the_cells_own_state(cell):
    assert isinstance(cell, Cell)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((4, 2, 3))
    final, outputs = unroll(cell, params, xs)
    assert jnp.array_equal(final[0], outputs[-1])
    _, from_zeros = unroll(cell, params, xs, cell.initial_state((2,)))
    assert jnp.array_equal(outputs, from_zeros)


@pytest.mark.usefixtures("x64")
def test_reverse_flips_inputs_and_outputs():
    cell, params, xs, state = draw()
    final, outputs = unroll(cell, params, xs, state, reverse=True)
    flipped_final, flipped_outputs = unroll(cell, params, xs[::-1], state)
    assert_close(outputs, flipped_outputs[::-1])
    assert_close(final, flipped_final)
    assert jnp.array_equal(final.h, outputs[0])
    assert not jnp.allclose(outputs, unroll(cell, params, xs, state)[1])


@pytest.mark.usefixtures("x64")
def test_two_halves_are_the_whole():
    cell, params, xs, state = draw()
    middle, first = unroll(cell, params, xs[:3], state)
    final, second = unroll(cell, params, xs[3:], middle)
    whole_final, whole = unroll(cell, params, xs, state)
    assert_close(jnp.concatenate([first, second]), whole)
    assert_close(final, whole_final)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("k", [2, 7, 10])  # leaves a rest, fits, and exceeds T = 7
def test_unrolling_the_loop_changes_no_value(k, reverse):
    cell, params, xs, state = draw()
    expected = unroll(cell, params, xs, state, reverse=reverse)
    assert_close(unroll(cell, params, xs, state, reverse=reverse, unroll=k), expected, 1e-14)


@pytest.mark.parametrize("reverse", [False, True])
def test_no_steps_leave_the_state_alone(reverse):
    cell, params, xs, state = draw(T=0, dtype=jnp.float32)
    final, outputs = unroll(cell, params, xs, state, reverse=reverse)
    assert outputs.shape == (0, 2, 5)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, final, state))


def test_one_step_is_a_step():
    cell, params, xs, state = draw(T=1, dtype=jnp.float32)
    final, outputs = unroll(cell, params, xs, state)
    assert_close(final, cell.step(params, state, xs[0]), 1e-6)
    assert jnp.array_equal(outputs[0], final.h)


def test_a_bare_step_with_a_plain_tuple():
    cell, params, xs, state = draw(dtype=jnp.float32)
    expected = unroll(cell, params, xs, state)
    for cell_or_step in (cell, lstm_step):
        final, outputs = unroll(cell_or_step, params, xs, tuple(state))
        assert isinstance(final, LSTMState)
        assert_close((final, outputs), expected, 0)


def test_inputs_may_be_a_pytree():
    def gated_sum(scale, state, x):
        return (state[0] + scale * x["value"] * x["open"],)

    xs = {"value": jnp.arange(4.0), "open": jnp.array([1.0, 0.0, 1.0, 1.0])}
    (total,), sums = unroll(gated_sum, 2.0, xs, (0.0,))
    assert sums.tolist() == [0.0, 0.0, 4.0, 10.0]
    assert total == 10.0


def test_numpy_arrays_will_do():
    cell, params, xs, state = draw(dtype=jnp.float32)
    as_numpy = jax.tree.map(np.asarray, (params, xs, tuple(state)))
    assert_close(unroll(cell, *as_numpy), unroll(cell, params, xs, state), 0)


def test_jit_with_the_cell_static_traces_once_for_equal_cells():
    traced = []

    @partial(jax.jit, static_argnames=("cell", "reverse"))
    def run(cell, params, xs, reverse=False):
        traced.append(cell)
        return unroll(cell, params, xs, reverse=reverse)

    _, params, xs, _ = draw(dtype=jnp.float32)
    assert_close(run(LSTM(3, 5), params, xs), unroll(LSTM(3, 5), params, xs), 1e-6)
    run(LSTM(3, 5), params, xs)
    assert len(traced) == 1

    by_hand = jax.jit(unroll, static_argnums=0, static_argnames=("reverse", "unroll"))
    expected = unroll(LSTM(3, 5), params, xs, reverse=True)
    assert_close(by_hand(LSTM(3, 5), params, xs, reverse=True, unroll=2), expected, 1e-6)


def test_outside_of_jit_a_second_call_compiles_nothing(caplog):
    cell, params, xs, state = draw(dtype=jnp.float32)
    steps = {"cell": cell, "step": lstm_step}
    for name, step in steps.items():
        with jax.log_compiles():
            unroll(step, params, xs, state)
            caplog.clear()
            unroll(step, params, xs, state)
        compiled = [r.message for r in caplog.records if "Compiling" in r.message]
        assert compiled == [], name


def test_a_bfloat16_cell_keeps_its_dtypes():
    cell = LSTM(3, 5, dtype=jnp.bfloat16)
    params = cell.init(jax.random.key(0))
    final, outputs = unroll(cell, params, jnp.ones((4, 2, 3)))
    assert (outputs.dtype, final.h.dtype, final.c.dtype) == (
        jnp.bfloat16,
        jnp.bfloat16,
        jnp.float32,
    )


ZEROS = jnp.zeros((4, 2, 3))
H5 = jnp.zeros((2, 5))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"unroll": 0}, ValueError, "unroll: unroll must be at least 1; got 0"),
        ({"xs": ()}, ValueError, "unroll: xs must hold at least one array"),
        ({"xs": 1.0}, ValueError, r"unroll: xs must have time as axis 0.*\[\(\)\]"),
        ({"xs": (ZEROS, ZEROS[1:])}, ValueError, "unroll: the arrays in xs differ in length T"),
        ({"xs": ZEROS[..., :2]}, ValueError, r"lstm_step: x must .*got \(2, 2\)"),
        ({"state": (H5[0], H5[0])}, ValueError, "unroll: state must have the batch axes of xs"),
        ({"state": (H5[:, :4], H5)}, ValueError, r"lstm_step: h must .*got \(2, 4\)"),
        ({"cell": lstm_step}, TypeError, "unroll: a bare step function needs `state`; got None"),
        ({"cell": LSTM}, TypeError, r"unroll: cell must be a cell, not its class; write LSTM\("),
        ({"cell": "lstm"}, TypeError, "unroll: cell must be a cell or a step function .*got str"),
        (
            {"cell": lambda p, s, x: (*s, x), "state": (H5,)},
            TypeError,
            "unroll: the step must return a state like .* 1 arrays; got 2",
        ),
        (
            {"cell": lambda p, s, x: (s[0].sum(),), "state": (H5,)},
            ValueError,
            r"unroll: state .* shape \(2, 5\) came out of the step with shape \(\)",
        ),
        (
            {"cell": lambda p, s, x: (s[0].astype("bfloat16"),), "state": (H5,)},
            TypeError,
            "unroll: the step must keep the dtypes of the state; float32 became bfloat16",
        ),
    ],
)
def test_errors_at_the_door(arguments, error, message):
    cell = LSTM(3, 5)
    params = LSTMParams(jnp.zeros((3, 20)), jnp.zeros((5, 20)), jnp.zeros(20))
    with pytest.raises(error, match=message):
        unroll(**({"cell": cell, "params": params, "xs": ZEROS} | arguments))
