"""Both directions of time: each row from its own end, each episode by itself."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.testing import quick_jit
from tests.helpers.toys import Sum, assert_close, column, random_like, rows_of

XS = column([1, 2, 3, 4], [10, 20, 30, 40])
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool).T
F64 = {"dtype": jnp.float64}


def pair(outputs):
    """The outputs of the two directions, as rows of numbers."""
    return [rows_of(outputs[..., k, None]) for k in range(2)]


def test_each_direction_sums_from_its_own_end_of_a_short_row():
    final, outputs = lj.unroll(lj.bidirectional(Sum()), lj.Directions((), ()), XS, mask=MASK)
    assert pair(outputs) == [
        [[1, 3, 6, 10], [10, 30, 0, 0]],
        [[10, 9, 7, 4], [30, 20, 0, 0]],
    ]
    assert final.forward[0][:, 0].tolist() == final.backward[0][:, 0].tolist() == [10, 30]


def test_states_of_both_directions_have_their_initial_one_at_the_front():
    cell = lj.bidirectional(Sum(1), Sum(2))
    *_, states = lj.unroll(cell, cell.init(jax.random.key(0)), XS, mask=MASK, return_states=True)
    assert rows_of(states.forward[0]) == [[1, 2, 4, 7, 11], [1, 11, 31, 31, 31]]
    assert rows_of(states.backward[0]) == [[2, 12, 11, 9, 6], [2, 32, 22, 2, 2]]


@pytest.mark.parametrize(
    ("merge", "wanted"),
    [
        ("sum", [[11, 12, 13, 14], [40, 50, 0, 0]]),
        ("mean", [[5.5, 6, 6.5, 7], [20, 25, 0, 0]]),
        ("multiply", [[10, 27, 42, 40], [300, 600, 0, 0]]),
    ],
)
def test_outputs_are_merged_and_padding_is_zero(merge, wanted):
    cell = lj.bidirectional(Sum(), merge=merge)
    _, outputs = lj.unroll(cell, lj.Directions((), ()), XS, mask=MASK)
    assert rows_of(outputs) == wanted
    assert cell.output_size == 1


def test_without_a_merge_both_outputs_are_returned():
    cell = lj.bidirectional(Sum(), merge="none")
    _, outputs = lj.unroll(cell, lj.Directions((), ()), XS, mask=MASK)
    joined = lj.unroll(lj.bidirectional(Sum()), lj.Directions((), ()), XS, mask=MASK)[1]
    assert jnp.array_equal(jnp.concatenate(outputs, axis=-1), joined)
    assert cell.output_size is None


@pytest.mark.parametrize("reverse", [False, True])
def test_hold_padding_repeats_the_last_merged_output(reverse):
    cell = lj.bidirectional(Sum(1), Sum(2))
    mask = np.array([[0, 1, 0, 1], [0, 0, 0, 0]], bool).T
    _, outputs = lj.unroll(
        cell, lj.Directions((), ()), XS, mask=mask, padding="hold", reverse=reverse
    )
    first, second = (3, 8), (7, 6)  # forward and backward at the two valid steps
    if reverse:
        first, second = (7, 4), (5, 8)
        wanted = [first, first, second, second]
    else:
        wanted = [(1, 2), first, first, second]
    assert outputs[:, 0].tolist() == [list(both) for both in wanted]
    assert outputs[:, 1].tolist() == [[1, 2]] * 4  # of the initial state


def test_raw_padding_is_the_output_for_a_zero_input():
    _, outputs = lj.unroll(
        lj.bidirectional(Sum()), lj.Directions((), ()), XS, mask=MASK, padding="raw"
    )
    assert pair(outputs)[0][1] == [10, 30, 30, 30]
    assert pair(outputs)[1][1] == [30, 20, 0, 0]


def test_reverse_swaps_the_directions():
    _, outputs = lj.unroll(
        lj.bidirectional(Sum()), lj.Directions((), ()), XS, mask=MASK, reverse=True
    )
    assert pair(outputs) == [
        [[10, 9, 7, 4], [30, 20, 0, 0]],
        [[1, 3, 6, 10], [10, 30, 0, 0]],
    ]


T = 8
# Two rows of several episodes, with masked steps at the ends, inside, and at a reset.
GAPS = np.array([[1, 1, 0, 1, 1, 1, 1, 0], [0, 1, 1, 1, 0, 0, 1, 1]], bool).T
STARTS = np.array([[1, 0, 0, 1, 0, 1, 0, 1], [1, 0, 0, 1, 1, 0, 1, 0]], bool).T
with jax.enable_x64(True):  # transforms read the dtypes of parameters
    CELLS = {
        "one layer": lj.bidirectional(lj.LSTM(3, 4, **F64), lj.GRU(3, 2, **F64)),
        "linear cells": lj.bidirectional(lj.MinLSTM(3, 3, **F64), merge="sum"),
        "layers": lj.stack(
            lj.bidirectional(lj.LSTM(3, 2, **F64)),
            lj.residual(lj.bidirectional(lj.LSTM(4, 2, **F64))),
        ),
    }


def numbers(cell):
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0)))
    return params, random_like(jnp.zeros((T, 2, 3)), seed=1)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "reverse"),
    [
        ("one layer", True),
        ("linear cells", False),
        ("layers", False),
        pytest.param("one layer", False, marks=pytest.mark.slow),
        pytest.param("linear cells", True, marks=pytest.mark.slow),
        pytest.param("layers", True, marks=pytest.mark.slow),
    ],
)
def test_resets_make_episodes_independent_in_both_directions(name, reverse):
    cell = CELLS[name]
    params, xs = numbers(cell)

    @quick_jit
    def run(xs, valid, reset=None):
        return lj.unroll(cell, params, xs, mask=valid, reset=reset, reverse=reverse)[1]

    outputs = run(jnp.where(GAPS[..., None], xs, jnp.nan), GAPS, STARTS)
    for row in range(2):
        # A reset comes before its step, in the order of steps; at a masked step it does nothing.
        order = range(T - 1, -1, -1) if reverse else range(T)
        steps = [t for t in order if GAPS[t, row]]
        cuts = [k for k, t in enumerate(steps) if STARTS[t, row] and k]
        for begin, end in zip([0, *cuts], [*cuts, len(steps)], strict=True):
            episode = sorted(steps[begin:end])
            only = np.zeros((T, 2), bool)
            only[episode, row] = True
            alone = run(xs, only)
            np.testing.assert_allclose(outputs[episode, row], alone[episode, row], atol=1e-13)
        assert not jnp.any(outputs[~GAPS[:, row], row])


@pytest.mark.usefixtures("x64")
def test_two_unrolls_have_the_same_values_and_gradients():
    cell = CELLS["one layer"]
    params, xs = numbers(cell)
    state = random_like(cell.initial_state((2,)), seed=2)
    weight = random_like(jnp.zeros((T, 2, 6)), seed=3)

    def both(params, xs, state):
        final, outputs = lj.unroll(cell, params, xs, state, mask=GAPS)
        return jnp.sum(weight * outputs) + final.forward.c.sum() + final.backward.h.sum(), final

    def by_hand(params, xs, state):
        final, hs = lj.unroll(cell.forward, params.forward, xs, state.forward, mask=GAPS)
        back, ks = lj.unroll(
            cell.backward, params.backward, xs, state.backward, mask=GAPS, reverse=True
        )
        outputs = jnp.concatenate([hs, ks], axis=-1)
        return jnp.sum(weight * outputs) + final.c.sum() + back.h.sum(), lj.Directions(final, back)

    got, wanted = (
        quick_jit(jax.value_and_grad(f, argnums=(0, 1, 2), has_aux=True))(params, xs, state)
        for f in (both, by_hand)
    )
    assert_close(got, wanted)


@pytest.mark.usefixtures("x64")
def test_nan_in_padding_reaches_neither_values_nor_gradients():
    cell = CELLS["layers"]
    params, xs = numbers(cell)
    run = quick_jit(
        jax.value_and_grad(
            lambda params, xs: jnp.sum(lj.unroll(cell, params, xs, mask=GAPS)[1] ** 2),
            argnums=(0, 1),
        )
    )
    value, grads = run(params, jnp.where(GAPS[..., None], xs, jnp.nan))
    assert_close((value, grads), run(params, xs))
    assert not jnp.any(grads[1][~GAPS])


@pytest.mark.usefixtures("x64")
def test_a_stack_is_one_bidirectional_unroll_after_the_other():
    cell = CELLS["layers"]
    params, xs = numbers(cell)
    lengths = [5, 0]
    final, outputs = lj.unroll(cell, params, xs, lengths=lengths)
    below, above = cell.cells
    first, hs = lj.unroll(below, params[0], xs, lengths=lengths)
    second, ks = lj.unroll(above.cell, params[1], hs, lengths=lengths)
    assert_close((final, outputs), ((first, second), hs + ks))
    assert jnp.any(outputs[:5, 0])
    assert not jnp.any(outputs[5:, 0])
    assert not jnp.any(outputs[:, 1])


@pytest.mark.parametrize("given", [False, True])
def test_resets_return_both_directions_to_the_learned_state(given):
    inner = lj.residual(lj.bidirectional(Sum(), merge="sum"))
    cell = lj.learned_initial_state(lj.learned_initial_state(inner))  # the outer one is used
    params = cell.init(jax.random.key(0))
    params = lj.Directions(
        params.forward._replace(state=(jnp.full(1, 100.0),)),
        params.backward._replace(state=(jnp.full(1, 200.0),)),
    )
    state = lj.Directions((jnp.full((2, 1), 5.0),), (jnp.full((2, 1), 6.0),)) if given else None
    reset = np.array([[0, 0, 1, 0], [0, 0, 0, 0]], bool).T
    *_, states = lj.unroll(cell, params, XS, state, reset=reset, return_states=True)
    a, b = (5, 6) if given else (100, 200)
    assert rows_of(states.forward[0]) == [
        [a, a + 1, a + 3, 103, 107],
        [a, a + 10, a + 30, a + 60, a + 100],
    ]
    assert rows_of(states.backward[0])[0] == [b, 203, 202, b + 7, b + 4]

    def loss(params):
        return lj.unroll(cell, params, XS, state, reset=reset)[1].sum()

    grads = jax.grad(loss)(params)
    shares = (2, 2) if given else (8, 8)  # outputs that depend on it
    assert tuple(grad.state[0].item() for grad in grads) == shares


def test_the_directions_share_no_parameters():
    cell = lj.bidirectional(lj.LSTM(3, 4))
    params = cell.init(jax.random.key(0))
    assert jnp.all(params.forward.kernel != params.backward.kernel)
    assert jnp.all(params.forward.recurrent_kernel != params.backward.recurrent_kernel)


def test_merged_outputs_have_the_promoted_dtype():
    cell = lj.bidirectional(lj.LSTM(3, 4, dtype=jnp.bfloat16), lj.LSTM(3, 4))
    for merge in ("concat", "sum"):
        merged = lj.bidirectional(*cell.children(), merge=merge)
        params = merged.init(jax.random.key(0))
        final, outputs = lj.unroll(merged, params, jnp.ones((3, 2, 3)), padding="hold")
        assert (outputs.dtype, final.forward.h.dtype) == (jnp.float32, jnp.bfloat16)


def test_value_semantics():
    cell = lj.bidirectional(lj.LSTM(3, 4))
    assert cell == lj.bidirectional(lj.LSTM(3, 4), lj.LSTM(3, 4))
    assert hash(cell) == hash(lj.bidirectional(lj.LSTM(3, 4)))
    assert cell != lj.bidirectional(lj.LSTM(3, 4), merge="sum")
    assert repr(lj.bidirectional(lj.LSTM(3, 4), lj.GRU(3, 4), merge="sum")) == (
        "Bidirectional(forward=LSTM(input_size=3, hidden_size=4),"
        " backward=GRU(input_size=3, hidden_size=4), merge='sum')"
    )
    assert (cell.input_size, cell.output_size) == (3, 8)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: lj.bidirectional(lj.LSTM(3, 4), merge="add"),
            ValueError,
            "bidirectional: merge must be one of ('concat', 'sum', 'mean', 'multiply', 'none');"
            " got 'add'",
        ),
        (
            lambda: lj.bidirectional(lj.LSTM(3, 4), lj.LSTM(3, 5), merge="sum"),
            ValueError,
            "bidirectional: merge='sum' needs cells of one output size; got (4, 5)",
        ),
        (
            lambda: lj.bidirectional(lj.LSTM(3, 4), lj.LSTM),
            TypeError,
            "bidirectional: cell must be a cell, not its class; write LSTM(...) with its sizes",
        ),
        (
            lambda: lj.bidirectional(lj.lstm_step),
            TypeError,
            "bidirectional: cell must have init, initial_state and step; got function",
        ),
        (
            lambda: lj.bidirectional(lj.LSTM(3, 5), lj.LSTM(4, 5)),
            ValueError,
            "bidirectional: both cells must have one input size; got (3, 4)",
        ),
        (
            lambda: lj.unroll(
                lj.residual(lj.bidirectional(Sum(), merge="none")), lj.Directions((), ()), XS
            ),
            TypeError,
            "residual: cell must return one array; Bidirectional(forward=Sum(begin=0.0"
            ", input_size=1), backward=Sum(begin=0.0, input_size=1), merge='none') returns"
            " PyTreeDef((*, *))",
        ),
        (
            lambda: lj.bidirectional(Sum()).step((), lj.Directions((0.0,), (0.0,)), 0.0),
            TypeError,
            "bidirectional: there is no single step, as one direction starts at the end; use"
            " unroll",
        ),
        (
            lambda: lj.tbptt(lj.stack(lj.bidirectional(Sum())), (((), ()),), XS, k1=2),
            TypeError,
            "tbptt: cell must have single steps; got Stack(cells=(Bidirectional(forward=Sum("
            "begin=0.0, input_size=1), backward=Sum(begin=0.0, input_size=1)),)), which needs the"
            " whole sequence",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()


def test_hold_padding_and_resets_outside_of_jit_are_compiled_once(caplog):
    key = jax.random.key(0)
    cell = lj.bidirectional(lj.LSTM(3, 5))
    params, xs = cell.init(key), jax.random.normal(key, (6, 2, 3))
    reset = jnp.zeros((6, 2), bool)

    def unrolled():
        lengths = jnp.array([3, 6])
        return lj.unroll(cell, params, xs, lengths=lengths, reset=reset, padding="hold")

    with jax.log_compiles():
        unrolled()
        caplog.clear()
        unrolled()
    assert [r.message for r in caplog.records if "Compiling" in r.message] == []


@pytest.mark.parametrize("got", [jnp.ones((2, 3, 5)), (jnp.ones((3, 5)),)])
def test_the_state_of_both_directions_is_a_pair(got):
    cell = lj.bidirectional(lj.GRU(4, 5))
    params, xs = cell.init(jax.random.key(0)), jnp.ones((6, 3, 4))
    wanted = r"^bidirectional: state must be a tuple of 2, one for each direction; got a"
    with pytest.raises(ValueError, match=wanted):
        lj.unroll(cell, params, xs, got)


def test_it_has_no_gates_of_a_step():
    cell = lj.bidirectional(lj.GRU(4, 5))
    with pytest.raises(TypeError, match=r"^bidirectional: there is no single step"):
        cell.gates(cell.init(jax.random.key(0)), cell.initial_state(), jnp.ones(4))
