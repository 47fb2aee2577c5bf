"""Lengths, masks and resets of `unroll`, on cases small enough to check by hand."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from tests.helpers.toys import Sum, assert_close, column, random_like, rows_of

XS = column([1, 2, 3, 4], [10, 20, 30, 40])
FULL, SHORT = [1, 3, 6, 10], [10, 30, 0, 0]
MASKS = {
    "full": np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool).T,
    "left padding": np.array([[0, 0, 1, 1], [0, 1, 1, 1]], bool).T,
    "gaps": np.array([[1, 0, 0, 1], [0, 1, 0, 1]], bool).T,
}


@pytest.mark.parametrize(
    ("mask", "padding", "wanted"),
    [
        ("full", "zero", [FULL, SHORT]),
        ("full", "hold", [FULL, [10, 30, 30, 30]]),
        ("full", "raw", [FULL, [10, 30, 30, 30]]),
        ("left padding", "zero", [[0, 0, 3, 7], [0, 20, 50, 90]]),
        ("left padding", "hold", [[0.5, 0.5, 3, 7], [0.5, 20, 50, 90]]),
        ("gaps", "zero", [[1, 0, 0, 5], [0, 20, 0, 60]]),
        ("gaps", "hold", [[1, 1, 1, 5], [0.5, 20, 20, 60]]),
    ],
)
def test_a_running_sum_counts_valid_steps_and_padding_sets_the_outputs(mask, padding, wanted):
    def total(params, state, x):  # shows what it has seen, and one half before that
        return jnp.where(x == 0, state[0], state[0] // 1 + x), state[1] + 1

    state = (jnp.full((2, 1), 0.5), jnp.zeros((2, 1)))
    final, outputs = lj.unroll(total, (), XS, state, mask=MASKS[mask], padding=padding)
    assert rows_of(outputs) == wanted
    there = np.where(MASKS[mask], np.asarray(XS)[..., 0], 0)
    assert final[0][:, 0].tolist() == there.sum(axis=0).tolist()
    assert final[1][:, 0].tolist() == MASKS[mask].sum(axis=0).tolist()


def test_raw_padding_is_the_output_for_a_zero_input():
    def plus_one(params, state, x):
        return (state[0] + x + 1,)

    state = (jnp.zeros((2, 1)),)
    final, outputs = lj.unroll(plus_one, (), XS, state, lengths=[4, 2], padding="raw")
    assert rows_of(outputs) == [[2, 5, 9, 14], [11, 32, 33, 33]]  # the state stays at 32
    assert final[0][:, 0].tolist() == [14, 32]


def test_lengths_are_a_mask_whatever_integers_they_are():
    wanted = lj.unroll(Sum(), (), XS, mask=MASKS["full"])
    for lengths in (
        [4, 2],
        np.array([4, 2]),
        jnp.array([4, 2], "uint8"),
        jnp.array([4, 2], "int8"),
    ):
        assert_close(lj.unroll(Sum(), (), XS, lengths=lengths), wanted, 0)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (3, 3), (2, 1, 2)])
def test_any_number_of_batch_axes_with_a_length_each(batch):
    lengths = np.random.default_rng(0).integers(0, 5, batch)
    xs = jnp.asarray(np.random.default_rng(1).integers(1, 9, (4, *batch, 1)), float)
    final, outputs = lj.unroll(Sum(), (), xs, lengths=lengths, return_states=False)
    assert final[0].shape == (*batch, 1)
    assert outputs.shape == (4, *batch, 1)
    for row in np.ndindex(*batch):
        alone = np.cumsum(np.asarray(xs)[(slice(None), *row)], axis=0)
        n = lengths[row]
        assert np.array_equal(outputs[(slice(None, n), *row)], alone[:n])
        assert not np.any(outputs[(slice(n, None), *row)])
        assert final[0][row] == (alone[n - 1] if n else 0)


@pytest.mark.usefixtures("x64")
def test_reverse_with_lengths_flips_every_row_by_its_own_length():
    cell, lengths = lj.LSTM(3, 4, dtype=jnp.float64), [5, 3, 1, 0]
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0)))
    xs, state = random_like((jnp.zeros((5, 4, 3)), cell.initial_state((4,))), seed=1)
    final, outputs = lj.unroll(cell, params, xs, state, lengths=lengths, reverse=True)
    for b, n in enumerate(lengths):
        own = jax.tree.map(lambda leaf, b=b: leaf[b], state)
        alone_final, alone = lj.unroll(cell, params, xs[:n, b][::-1], own)
        assert_close(outputs[:n, b], alone[::-1])
        assert not jnp.any(outputs[n:, b])
        assert_close(jax.tree.map(lambda leaf, b=b: leaf[b], final), alone_final)


@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_out_of_range_are_clamped_under_jit_in_both_directions(reverse):
    @jax.jit
    def run(lengths):
        return lj.unroll(Sum(), (), XS, lengths=lengths, reverse=reverse)

    for wrong, clamped in (([9, 2], [4, 2]), ([4, -3], [4, 0]), ([2**31 - 1, -(2**31)], [4, 0])):
        assert_close(run(jnp.array(wrong)), run(jnp.array(clamped)), 0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("implementation", ["scan", None])
def test_lengths_beyond_int32_are_clamped_in_their_own_dtype(implementation):
    cell = lj.LSTM(1, 2)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((300, 2, 1))

    @jax.jit
    def run(lengths):
        options = {"lengths": lengths, "implementation": implementation}
        return lj.unroll(cell, params, xs, **options), lj.mask_of_lengths(lengths, 300)

    for dtype, wrong, clamped in (
        ("uint32", [2**31, 2**32 - 1], [300, 300]),
        ("uint64", [2**32, 2**64 - 1], [300, 300]),
        ("int64", [2**40, 2**32 + 5], [300, 300]),
        ("int64", [-(2**40), 5 - 2**32], [0, 0]),
        ("int8", [127, -128], [127, 0]),
        ("uint8", [255, 128], [255, 128]),
        ("int16", [2**15 - 1, -1], [300, 0]),
    ):
        assert_close(run(jnp.array(wrong, dtype)), run(jnp.array(clamped)), 0)


@pytest.mark.parametrize("wrong", [[5, 2], [4, -1], [2**40, 2]])
def test_lengths_out_of_range_raise_where_they_are_known(wrong):
    message = re.escape(f"unroll: lengths must be within 0 and T = 4; got {wrong}")
    with pytest.raises(ValueError, match=message):
        lj.unroll(Sum(), (), XS, lengths=wrong)


MASK = np.ones((4, 2), bool)
FLAGS = "must be booleans, or numbers that are 0 or 1"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lengths": [4.0, 2.0]}, TypeError, "lengths must be integers; got float32"),
        ({"lengths": [True, True]}, TypeError, "lengths must be integers; got bool"),
        (
            {"lengths": [4, 2, 1]},
            ValueError,
            "lengths must have shape (2,), the batch axes of xs; got (3,)",
        ),
        ({"lengths": 4}, ValueError, "lengths must have shape (2,), the batch axes of xs; got ()"),
        ({"mask": MASK, "lengths": [4, 2]}, ValueError, "lengths or mask can be given, not both"),
        (
            {"lengths": ["4", "2"]},
            TypeError,
            "lengths must be an array of numbers; got a list of 2",
        ),
        ({"mask": MASK + 1}, ValueError, f"mask {FLAGS}; got 2"),
        ({"mask": MASK - 1.25}, ValueError, f"mask {FLAGS}; got -0.25"),
        ({"reset": np.where(MASK, np.nan, 0)}, ValueError, f"reset {FLAGS}; got nan"),
        ({"reset": jnp.array(MASK * 255)}, ValueError, f"reset {FLAGS}; got 255"),
        ({"reset": MASK.astype(np.complex64)}, TypeError, f"reset {FLAGS}; got complex64"),
        (
            {"mask": jax.random.split(jax.random.key(0), MASK.shape)},
            TypeError,
            f"mask {FLAGS}; got key<fry>",
        ),
        (
            {"mask": [["yes", "no"]] * 4},
            TypeError,
            "mask must be an array of numbers; got a list of 4",
        ),
        (
            {"mask": MASK.T},
            ValueError,
            "mask must have shape (4, 2), T and the batch axes of xs; got (2, 4)",
        ),
        (
            {"reset": MASK[:, 0]},
            ValueError,
            "reset must have shape (4, 2), T and the batch axes of xs; got (4,)",
        ),
        (
            {"padding": "same"},
            ValueError,
            "padding must be one of ('zero', 'hold', 'raw'); got 'same'",
        ),
    ],
)
def test_errors_name_what_does_not_fit(options, error, message):
    with pytest.raises(error, match=f"^{re.escape('unroll: ' + message)}$"):
        lj.unroll(Sum(), (), XS, **options)


@pytest.mark.parametrize(
    "dtype", [np.float32, np.int64, np.uint8, np.int8, np.float16, ">f4", jnp.bfloat16, "list"]
)
def test_masks_and_resets_may_be_numbers_that_are_0_or_1(dtype):
    reset = np.array([[0, 0, 1, 0], [0, 1, 0, 1]], bool).T
    wanted = lj.unroll(Sum(7), (), XS, mask=MASKS["gaps"], reset=reset)

    def numbers(flags):
        return flags.astype(int).tolist() if dtype == "list" else flags.astype(dtype)

    for array in (numbers, lambda flags: jnp.asarray(flags, jnp.bfloat16)):
        given = {"mask": array(MASKS["gaps"]), "reset": array(reset)}
        assert_close(lj.unroll(Sum(7), (), XS, **given), wanted, 0)


def test_where_they_are_not_known_every_number_but_0_is_true():
    mask = np.array([[1, -1, 0, np.nan], [0.5, 0, -0.0, 2]], np.float32).T

    def run(mask):
        return lj.unroll(Sum(7), (), XS, mask=mask, reset=mask)

    wanted = run(mask != 0)
    assert_close(jax.jit(run)(mask), wanted, 0)
    mapped = jax.vmap(run)(mask[None])
    assert_close(mapped, jax.tree.map(lambda leaf: leaf[None], wanted), 0)


@pytest.mark.parametrize("implementation", ["scan", None])
def test_the_gradient_of_a_mask_of_numbers_is_zero(implementation):
    cell, xs = lj.LSTM(1, 2), XS.astype(jnp.float32)
    params = cell.init(jax.random.key(0))

    def loss(params, mask, reset):
        options = {"mask": mask, "reset": reset, "implementation": implementation}
        return lj.unroll(cell, params, xs, **options)[1].sum()

    mask = MASKS["gaps"].astype(np.float32)
    grads = jax.grad(loss, argnums=(0, 1, 2))(params, mask, 1 - mask)
    wanted = jax.grad(loss)(params, MASKS["gaps"], ~MASKS["gaps"])
    assert_close(grads, (wanted, 0 * mask, 0 * mask), 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": MASK[:, :1]}, "the arrays in xs must have the batch axes (1,) of lengths, mask"),
        (
            {"mask": MASK, "reset": MASK[:, :1]},
            "reset must have the shape of the mask, (4, 2); got (4, 1)",
        ),
    ],
)
def test_a_bare_step_has_its_mask_checked_against_its_arrays(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        lj.unroll(Sum().step, (), XS, (jnp.zeros((2, 1)),), **options)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", [Sum(7), lj.bidirectional(Sum(7)), lj.stack(Sum(7), Sum(1))])
def test_no_steps_at_all(cell, reverse):
    nothing = np.ones((0, 2), bool)
    for options in ({"lengths": [0, 0]}, {"mask": nothing, "reset": nothing, "padding": "hold"}):
        final, outputs, states = lj.unroll(
            cell,
            cell.init(jax.random.key(0)),
            XS[:0],
            reverse=reverse,
            return_states=True,
            **options,
        )
        assert outputs.shape[:2] == (0, 2)
        assert_close(final, cell.initial_state((2,)), 0)
        assert_close(states, jax.tree.map(lambda leaf: leaf[None], final), 0)


@pytest.mark.parametrize("reverse", [False, True])
def test_one_step(reverse):
    options = {"lengths": [1, 0], "reset": np.ones((1, 2), bool), "padding": "hold"}
    final, outputs = lj.unroll(
        Sum(), (), XS[:1], (column([5, 5])[:, 0],), reverse=reverse, **options
    )
    assert rows_of(outputs) == [[1], [5]]  # the row that is not there is not reset either
    assert final[0][:, 0].tolist() == [1, 5]


def test_mask_of_lengths():
    assert lj.mask_of_lengths(jnp.array([[0, 2], [9, -1]]), 3).astype(int).tolist() == [
        [[0, 1], [1, 0]],
        [[0, 1], [1, 0]],
        [[0, 0], [1, 0]],
    ]
    assert lj.mask_of_lengths(2, 3).tolist() == [True, True, False]


@pytest.mark.parametrize("make", [np.array, list, lambda lengths: np.array(lengths, ">i8")])
def test_mask_of_lengths_beyond_int32(make):
    mask = lj.mask_of_lengths(make([2**40, 2, -(2**40)]), 3)
    assert mask.T.tolist() == [[True] * 3, [True, True, False], [False] * 3]
    assert lj.mask_of_lengths(np.array([2**64 - 1], np.uint64), 2).tolist() == [[True]] * 2


@pytest.mark.parametrize("lengths", [[1.5], np.array([True]), jnp.array([2.0])])
def test_mask_of_lengths_needs_integers(lengths):
    with pytest.raises(TypeError, match=r"^mask_of_lengths: lengths must be integers; got"):
        lj.mask_of_lengths(lengths, 3)


@pytest.mark.parametrize(
    ("reverse", "wanted", "last"),
    [
        (False, [[7, 8, 10, 13, 17], [7, 17, 37, 37, 37]], [17, 37]),
        (True, [[7, 17, 16, 14, 11], [7, 37, 27, 7, 7]], [17, 37]),
    ],
)
def test_states_have_the_initial_one_at_the_front(reverse, wanted, last):
    final, outputs, (states,) = lj.unroll(
        Sum(7), (), XS, lengths=[4, 2], reverse=reverse, return_states=True
    )
    assert rows_of(states) == wanted
    assert rows_of(outputs) == [wanted[0][1:], [*wanted[1][1:3], 0, 0]]
    assert final[0][:, 0].tolist() == last


def test_inputs_may_be_a_tree_with_integers_and_a_mask_goes_with_every_leaf():
    def look_up(table, state, x):
        return (state[0] + table[x["token"]][..., None] * x["weight"],)

    xs = {
        "token": jnp.array([[0, 1], [2, -1], [1, -1]]),  # -1 would look up the last
        "weight": jnp.where(jnp.array([[1, 1], [1, 0], [1, 0]])[..., None] == 1, 1.0, jnp.nan),
    }
    table, state = jnp.array([1.0, 10.0, 100.0]), (jnp.zeros((2, 1)),)

    def run(table, weight):
        return lj.unroll(look_up, table, xs | {"weight": weight}, state, lengths=[3, 1])

    (final,), outputs = run(table, xs["weight"])
    assert rows_of(outputs) == [[1, 101, 111], [10, 0, 0]]
    assert final[:, 0].tolist() == [111, 10]
    grads = jax.grad(lambda *at: run(*at)[1].sum(), argnums=(0, 1))(table, xs["weight"])
    assert grads[0].tolist() == [3, 2, 2]  # each output counts what came before it
    assert rows_of(grads[1]) == [[3, 200, 10], [10, 0, 0]]


def test_a_whole_row_of_padding_changes_no_other_row():
    mask = np.array([[1, 1, 1, 1], [0, 0, 0, 0]], bool).T
    final, outputs = lj.unroll(Sum(3), (), XS.at[:, 1].set(jnp.nan), mask=mask)
    assert rows_of(outputs) == [[4, 6, 9, 13], [0, 0, 0, 0]]
    assert final[0][:, 0].tolist() == [13, 3]
