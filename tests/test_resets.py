"""Resets: where rows return to the initial state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.resets import resets_in_opposite_direction
from tests.helpers.toys import Sum, assert_close, column, rows_of

XS = column([1, 2, 3, 4], [10, 20, 30, 40])
GAPS = np.array([[1, 0, 0, 1], [0, 1, 0, 1]], bool).T


def test_a_reset_goes_to_the_cells_own_state_and_that_of_a_bare_step_to_the_given_one():
    reset = np.zeros((4, 2), bool)
    reset[2] = True, False
    given = (jnp.full((2, 1), 100.0),)
    _, outputs = lj.unroll(Sum(7), (), XS, given, reset=reset)
    assert rows_of(outputs) == [[101, 103, 10, 14], [110, 130, 160, 200]]
    _, outputs = lj.unroll(Sum(7).step, (), XS, given, reset=reset)
    assert rows_of(outputs) == [[101, 103, 103, 107], [110, 130, 160, 200]]


def test_resets_of_masked_steps_do_nothing():
    mask, reset = GAPS, np.array([[0, 1, 1, 0], [1, 0, 1, 1]], bool).T
    _, outputs = lj.unroll(Sum(), (), XS, mask=mask, reset=reset)
    assert rows_of(outputs) == [[1, 0, 0, 5], [0, 20, 0, 40]]


def test_in_reverse_a_reset_comes_before_its_step_in_the_order_they_are_run():
    reset = np.zeros((4, 2), bool)
    reset[1] = True, False
    _, outputs = lj.unroll(Sum(), (), XS, reset=reset, reverse=True)
    assert rows_of(outputs) == [[3, 2, 7, 4], [100, 90, 70, 40]]


def test_resets_after_the_end_of_an_episode():
    done = jnp.array([[False, True, False, False], [True, False, False, True]]).T
    assert lj.resets_from_dones(done).T.tolist() == [
        [False, False, True, False],
        [False, True, False, False],
    ]
    _, outputs = lj.unroll(Sum(), (), XS, reset=lj.resets_from_dones(done))
    assert rows_of(outputs) == [[1, 3, 3, 7], [10, 20, 50, 90]]
    # In chunks: the last `done` of one is the first reset of the next.
    middle, _ = lj.unroll(Sum(), (), XS[:2], reset=lj.resets_from_dones(done[:2]))
    second = lj.resets_from_dones(done[2:], first=done[1])
    _, outputs = lj.unroll(Sum(), (), XS[2:], middle, reset=second)
    assert rows_of(outputs) == [[3, 7], [50, 90]]


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, jnp.bfloat16])
def test_dones_may_be_numbers_that_are_0_or_1(dtype):
    done, first = np.array([[0, 1, 0], [1, 0, 0]], dtype).T, np.array([0, 1], dtype)
    wanted = [[False, False, True], [True, True, False]]
    for array in (np.asarray, jnp.asarray):
        assert lj.resets_from_dones(array(done), array(first)).T.tolist() == wanted
    under_jit = jax.jit(lj.resets_from_dones)
    assert under_jit(done, first).T.tolist() == wanted
    assert lj.resets_from_dones(done, 1.0)[0].tolist() == [True, True]


@pytest.mark.parametrize("make", [lj.tbptt, lj.unroll, lj.diagnostics.trace])
def test_every_function_takes_masks_and_resets_of_numbers(make):
    cell, mask = lj.bidirectional(lj.LSTM(1, 2)) if make is lj.unroll else lj.LSTM(1, 2), GAPS
    options = {"k1": 2} if make is lj.tbptt else {}
    params = cell.init(jax.random.key(0))
    wanted = make(cell, params, XS, mask=mask, reset=~mask, **options)
    got = make(
        cell, params, XS, mask=mask.astype(np.float32), reset=1 - mask.astype(int), **options
    )
    assert_close(got, wanted, 0)


def test_resets_from_no_steps_and_errors():
    assert lj.resets_from_dones(jnp.zeros((0, 2), bool)).shape == (0, 2)
    flags = "must be booleans, or numbers that are 0 or 1"
    with pytest.raises(ValueError, match=rf"^resets_from_dones: done {flags}; got 2.0$"):
        lj.resets_from_dones(jnp.full(3, 2.0))
    with pytest.raises(TypeError, match=rf"^resets_from_dones: first {flags}; got complex64$"):
        lj.resets_from_dones(jnp.zeros(3), 1j)
    with pytest.raises(ValueError, match=r"first must have shape \(\) or \(2,\), .*; got \(3,\)$"):
        lj.resets_from_dones(jnp.zeros((4, 2)), jnp.zeros(3))
    with pytest.raises(
        ValueError, match=r"^resets_from_dones: done must have time .*; got shape \(\)$"
    ):
        lj.resets_from_dones(jnp.array(True))


def test_a_reset_does_not_change_the_state_that_the_sequence_started_with():
    reset, given = np.ones((4, 2), bool), (jnp.full((2, 1), 50.0),)
    *_, (states,) = lj.unroll(Sum(7), (), XS, given, reset=reset, return_states=True)
    assert rows_of(states) == [[50, 8, 9, 10, 11], [50, 17, 27, 37, 47]]


@pytest.mark.parametrize(
    ("starts", "valid", "reverse", "wanted"),
    [
        ("1010", "1111", False, "0100"),
        ("0110", "1111", False, "1100"),
        ("1000", "1111", False, "0000"),
        ("0001", "1001", False, "1000"),  # a gap: the step before the start is far away
        ("0100", "1011", False, "0000"),  # a reset of a masked step is none
        ("0110", "1111", True, "0011"),
        ("1000", "1001", True, "0001"),
    ],
)
def test_opposite_resets_cut_at_the_same_places(starts, valid, reverse, wanted):
    starts, valid, wanted = (np.array([*map(int, bits)], bool) for bits in (starts, valid, wanted))
    got = resets_in_opposite_direction(jnp.asarray(starts), jnp.asarray(valid), reverse=reverse)
    assert (np.asarray(got) & valid).tolist() == wanted.tolist()


def test_the_shape_of_first_where_done_has_no_batch_axes():
    wanted = r"^resets_from_dones: first must have shape \(\), as done .* axes; got \(1,\)$"
    with pytest.raises(ValueError, match=wanted):
        lj.resets_from_dones(jnp.zeros(3), jnp.array([1]))
