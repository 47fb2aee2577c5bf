"""Truncated gradients: values equal those of `unroll`, gradients go back `k2` steps."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.testing import quick_jit, with_gradients
from tests.helpers.toys import Sum, assert_close, column, random_like, rows_of, slow_case

T = 5
F64 = {"dtype": jnp.float64}
CELL = lj.LSTM(3, 4, **F64)
MASK = np.array([[1] * 5, [1, 1, 1, 0, 0], [0, 1, 0, 0, 1]], bool).T
RESET = np.random.default_rng(0).random((T, 3)) < 0.3
KEY = jax.random.key(5)


def numbers(cell):
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0)))
    return params, random_like(jnp.zeros((T, 3, 3)), 1), random_like(cell.initial_state((3,)), 2)


def by_hand(cell, k1, k2, *, mask=None, reset=None, padding="zero", key=None, start=0, **options):
    """Each chunk of k1 steps by itself, from the constant state k2 steps before its end."""

    def part(first, last):
        cut = {"mask": mask, "reset": reset}
        cut = {name: a if a is None else a[first:last] for name, a in cut.items()}
        return cut | {"key": key, "padding": padding, "start": start + first} | options

    def truncated(params, xs, state):
        chunks = []
        for end in range(k1, T + k1, k1):
            first = max(end - k2, 0)
            begin = state
            if first:
                begin = lj.unroll(cell, params, xs[:first], state, **part(0, first))[0]
                begin = jax.lax.stop_gradient(begin)
            final, ys = lj.unroll(cell, params, xs[first:end], begin, **part(first, end))
            chunks.append(ys[end - k1 - first :])
        return final, jnp.concatenate(chunks)

    return truncated


def evaluate(function, arguments):
    return quick_jit(with_gradients(function))(*arguments)


with jax.enable_x64(True):  # transforms read the dtypes of parameters
    NOISY = lj.stack(
        lj.dropout(lj.zoneout(CELL, h=0.2, c=0.3), 0.3),
        lj.weight_drop(
            lj.recurrent_dropout(lj.learned_initial_state(lj.LSTM(4, 2, **F64)), 0.4), 0.2
        ),
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("k1", "k2", "options"),
    [
        (2, None, {}),
        (2, 3, {"mask": MASK, "reset": RESET, "padding": "raw"}),
        slow_case(1, 2, {"reset": RESET, "remat": 2}),
        slow_case(3, 7, {"mask": MASK, "unroll": 2, "remat": "step"}),
        (6, 6, {}),
    ],
)
def test_values_equal_unroll_and_gradients_equal_chunks(k1, k2, options):
    arguments = numbers(CELL)
    got = evaluate(lambda *a: lj.tbptt(CELL, *a, k1=k1, k2=k2, **options), arguments)
    assert_close(got, evaluate(by_hand(CELL, k1, k2 or k1, **options), arguments))
    assert_close(got[0], quick_jit(lambda *a: lj.unroll(CELL, *a, **options))(*arguments))


@pytest.mark.usefixtures("x64")
@pytest.mark.slow
def test_random_numbers_are_those_of_unroll_and_resets_reach_a_learned_state():
    arguments = numbers(NOISY)
    options = {"mask": MASK, "reset": RESET, "key": KEY, "start": 3}
    got = evaluate(lambda *a: lj.tbptt(NOISY, *a, k1=3, k2=4, **options), arguments)
    assert_close(got, evaluate(by_hand(NOISY, 3, 4, **options), arguments))
    assert jnp.all(got[1][0][1].state.c != 0)


@pytest.mark.parametrize(
    ("k1", "k2", "reach"),
    [
        (1, 1, [1, 1, 1, 1, 1]),
        (2, 2, [2, 1, 2, 1, 1]),
        (1, 3, [3, 3, 3, 2, 1]),
        (2, 3, [2, 3, 2, 2, 1]),
        (5, 5, [5, 4, 3, 2, 1]),
        (1, 9, [5, 4, 3, 2, 1]),
    ],
)
def test_the_number_of_outputs_whose_gradient_reaches_an_input(k1, k2, reach):
    def total(xs):
        return lj.tbptt(Sum(), (), xs, k1=k1, k2=k2)[1].sum()

    assert rows_of(quick_jit(jax.grad(total))(column([1, 2, 3, 4, 5]))) == [reach]


@pytest.mark.usefixtures("x64")
def test_hold_padding_equals_unroll_where_windows_start_with_padding():
    cell = lj.residual(lj.LSTM(3, 3, **F64))  # the output is not the state
    arguments = numbers(cell)
    mask = np.array([[1, 0, 0, 0, 1], [1, 1, 0, 1, 0], [0] * 5], bool).T
    wanted = lj.unroll(cell, *arguments, mask=mask, padding="hold")
    for k1, k2 in ((1, 1), (2, 3)):
        options = {"k1": k1, "k2": k2, "mask": mask, "padding": "hold"}
        got = quick_jit(lambda *a, options=options: lj.tbptt(cell, *a, **options))(*arguments)
        assert_close(got, wanted)


def test_an_output_forward_filled_from_before_a_window_is_a_constant():
    mask = np.array([[True, True, False, False]]).T

    def last(xs, k2):
        return lj.tbptt(Sum(), (), xs, k1=1, k2=k2, mask=mask, padding="hold")[1][-1].sum()

    for k2, reach in ((2, [0, 0, 0, 0]), (3, [0, 1, 0, 0]), (4, [1, 1, 0, 0])):
        grad = quick_jit(jax.grad(lambda xs, k2=k2: last(xs, k2)))
        assert rows_of(grad(column([1, 2, 3, 4]))) == [reach]


@pytest.mark.parametrize("k2", [2, 3])
def test_a_bare_step_is_reset_to_the_given_state(k2):
    reset = np.array([[False, False, False, True, False]]).T
    state = (jnp.full((1, 1), 100.0),)
    final, outputs = lj.tbptt(
        Sum().step, (), column([1, 2, 3, 4, 5]), state, k1=2, k2=k2, reset=reset
    )
    assert rows_of(outputs) == [[101, 103, 106, 104, 109]]
    assert final[0].item() == 109


@pytest.mark.slow
def test_a_plain_state_and_numpy_arrays():
    cell = lj.LSTM(3, 4)
    params, xs = cell.init(jax.random.key(0)), np.ones((T, 2, 3), np.float32)
    state = (np.ones((2, 4), np.float32), np.ones((2, 4), np.float32))
    got = lj.tbptt(cell, params, xs, state, k1=3, k2=np.int64(4), lengths=[5, 2])
    assert isinstance(got[0], lj.LSTMState)
    assert_close(got, lj.unroll(cell, params, xs, state, lengths=[5, 2]), 1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("batch", [(), (2, 2)])
def test_any_number_of_batch_axes_and_none(batch):
    params, _, _ = numbers(CELL)
    xs = random_like(jnp.zeros((T, *batch, 3)), 1)
    lengths = np.full(batch, 4)
    got = quick_jit(lambda: lj.tbptt(CELL, params, xs, k1=2, k2=3, lengths=lengths))()
    assert_close(got, lj.unroll(CELL, params, xs, lengths=lengths))


def test_no_steps_return_the_state():
    final, outputs = lj.tbptt(Sum(3), (), jnp.zeros((0, 2, 1)), k1=2)
    assert outputs.shape == (0, 2, 1)
    assert final[0].tolist() == [[3], [3]]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k1": 0}, ValueError, "k1 must be at least 1; got 0"),
        ({"k1": 1.5}, TypeError, "k1 must be an integer; got 1.5"),
        ({"k1": 3, "k2": 2}, ValueError, "k2 must be at least k1 = 3; got 2"),
        ({"k1": 2, "k2": "3"}, TypeError, "k2 must be an integer; got '3'"),
        (
            {"k1": 2, "lengths": [8]},
            ValueError,
            "lengths must be within 0 and T = 7; got [8]",
        ),
        (
            {"k1": 2, "padding": "same"},
            ValueError,
            "padding must be one of ('zero', 'hold', 'raw'); got 'same'",
        ),
        ({"k1": 2, "unroll": 0}, ValueError, "unroll must be at least 1; got 0"),
        (
            {"k1": 2, "remat": "all"},
            ValueError,
            "remat must be None, \"step\" or a number of steps of at least 1; got 'all'",
        ),
        (
            {"k1": 2, "xs": 1.0},
            ValueError,
            "xs must have time as axis 0, [T, ...]; got shapes [()]",
        ),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=f"^{re.escape('tbptt: ' + message)}$"):
        lj.tbptt(**{"cell": Sum(), "params": (), "xs": jnp.zeros((7, 1, 1))} | options)


def test_truncation_beyond_the_end_computes_no_more_steps_than_the_sequence_has():
    cell = lj.LSTM(3, 5)
    params, xs = cell.init(KEY), jax.random.normal(KEY, (6, 2, 3))

    def steps(k1):
        return str(jax.make_jaxpr(lambda xs: lj.tbptt(cell, params, xs, k1=k1))(xs))

    assert steps(2000) == steps(6)
