"""The native kernels for processors, held to the plain scan: values, states and gradients."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import lstm_jax as lj
from lstm_jax.kernels import native
from lstm_jax.testing import quick_jit, with_gradients

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

ROOT = Path(__file__).parents[1]

# How far values and gradients may be from the scan's, relative to the largest number of each array.
CLOSE = {"float32": (1e-6, 1e-5), "float64": (1e-12, 1e-12), "bfloat16": (0.01, 0.03)}
DTYPES = {
    "float32": jnp.float32,
    "float64": jnp.float64,
    "bfloat16": jnp.bfloat16,
    "mixed": lj.Policy(compute=jnp.bfloat16),
}
T, B = 9, 4


class Numbers(NamedTuple):
    """What a run takes, all of it random so that no term can hide."""

    params: Any
    xs: Any
    state: Any


def draw(cell, T=T, batch=(B,), seed=0):
    """Numbers for any cell made of LSTMs."""
    normal = np.random.default_rng(seed).standard_normal

    def like(leaf):
        rows = leaf.shape[0] if leaf.ndim == 2 else 1
        return jnp.asarray(normal(leaf.shape) / np.sqrt(rows), leaf.dtype)

    params = jax.tree.map(like, jax.eval_shape(cell.init, jax.random.key(0)))
    state = jax.tree.map(
        lambda leaf: jnp.asarray(np.tanh(normal(leaf.shape)), leaf.dtype),
        jax.eval_shape(lambda: cell.initial_state(batch)),
    )
    xs = jnp.asarray(normal((T, *batch, cell.input_size)), jax.tree.leaves(state)[0].dtype)
    return Numbers(params, xs, state)


def runs_natively(cell, numbers, **options):
    """Whether each cell in it takes the kernel."""
    params, xs, state = numbers
    chosen = lj.explain(cell, xs, state, params=params, implementation="cpu", **options)
    return set(chosen.kernels) == {"cpu"}


def results(cell, numbers, *, own_state=False, **options):
    """What a run gives, and the gradients of that: of parameters, inputs and state."""

    def run(params, xs, state):
        return lj.unroll(cell, params, xs, None if own_state else state, **options)

    return quick_jit(with_gradients(run))(*numbers)


def assert_near(got, wanted, dtype="float32"):
    """Values and gradients of two runs: near to each other, and of the same types."""
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for part, bounds in zip(("values", "gradients"), CLOSE[dtype], strict=True):
        at = ("values", "gradients").index(part)
        leaves = jax.tree_util.tree_leaves_with_path(got[at])
        for (path, a), b in zip(leaves, jax.tree.leaves(wanted[at]), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
            off = np.max(np.abs(a - b), initial=0.0)
            scale = np.max(np.abs(b), initial=0.0)
            assert off <= bounds * scale, f"{part}{jax.tree_util.keystr(path)}: {off} of {scale}"


def agrees(cell, numbers=None, dtype="float32", *, own_state=False, **options):
    """Hold the kernel to the scan, and give what the kernel gave."""
    numbers = draw(cell) if numbers is None else numbers
    assert runs_natively(cell, numbers, **options)
    options["own_state"] = own_state
    got = results(cell, numbers, implementation="cpu", **options)
    assert_near(got, results(cell, numbers, implementation="scan", **options), dtype)
    return got


def lengths_of(T, batch, seed=0):
    """Lengths among which are 0 and T."""
    lengths = np.random.default_rng(seed).integers(0, T + 1, batch)
    lengths.flat[:2] = [0, T][: lengths.size]
    return lengths


@st.composite
def cases(draw_, dtypes):
    """Sizes, and options of `unroll`."""
    sizes = [draw_(st.sampled_from(some)) for some in ((1, 2, 33, 40), (1, 3, 17, 64, 100, 128))]
    batch = draw_(st.sampled_from([(7,), (), (1,), (2,), (13,), (2, 3), (0,)]))
    steps, seed = draw_(st.sampled_from([9, 1])), draw_(st.integers(0, 99))
    random = np.random.default_rng(seed).random
    options = {
        "reverse": draw_(st.booleans()),
        "padding": draw_(st.sampled_from(["zero", "hold"])),
        "return_states": draw_(st.booleans()),
    }
    match draw_(st.sampled_from(["mask", "lengths", "whole"])):
        case "mask":
            options["mask"] = random((steps, *batch)) < 0.6
        case "lengths":
            options["lengths"] = lengths_of(steps, batch, seed)
    if draw_(st.booleans()):
        options["reset"] = random((steps, *batch)) < 0.3
    if not options["return_states"] and options["padding"] == "zero":
        options["remat"] = draw_(st.sampled_from([None, 4]))
    dtype = draw_(st.sampled_from(dtypes))
    return dtype, sizes, steps, batch, seed, draw_(st.booleans()), options


def holds(case):
    name, sizes, steps, batch, seed, own_state, options = case
    with jax.enable_x64(name == "float64"):
        cell = lj.LSTM(*sizes, dtype=DTYPES[name])
        numbers = draw(cell, steps, batch, seed)
        dtype = "bfloat16" if name == "mixed" else name
        agrees(cell, numbers, dtype, own_state=own_state, **options)


@settings(max_examples=6)
@given(case=cases(["float32"]))
def test_any_run_is_that_of_the_scan(case):
    holds(case)


@settings(max_examples=4)
@given(case=cases(["float64"]))
def test_any_run_in_float64_is_that_of_the_scan_to_twelve_digits(case):
    holds(case)


@settings(max_examples=3)
@given(case=cases(["bfloat16", "mixed"]))
def test_any_run_in_bfloat16_is_that_of_the_scan_to_its_rounding(case):
    holds(case)


@pytest.mark.slow
@settings(max_examples=60)
@given(case=cases(list(DTYPES)))
def test_any_run_is_that_of_the_scan_in_many_cases(case):
    holds(case)


# One unit and one vector of them, more and less; narrow inputs, and those projected in chunks.
@pytest.mark.parametrize(
    ("I", "H", "batch"),
    [(1, 1, (2,)), (2, 3, ()), (33, 17, (7,)), (40, 100, (13,)), (2, 64, (2, 3)), (33, 128, (1,))],
)
def test_any_sizes(I, H, batch):  # noqa: E741
    numbers = draw(lj.LSTM(I, H), T, batch)
    reset = np.random.default_rng(0).random((T, *batch)) < 0.3
    agrees(lj.LSTM(I, H), numbers, lengths=lengths_of(T, batch), reset=reset)


@pytest.mark.parametrize(
    ("I", "H", "batch", "steps"),
    [
        (5, 256, (1,), 5),  # fewer rows than threads
        (40, 512, (4,), 3),  # more weights than a core keeps at hand, and projected inputs
        (3, 768, (24,), 2),  # more sums of weights' gradients as well, and rows in halves
        (2, 1, (129,), 3),  # a chunk of steps is one step
    ],
)
def test_threads_that_share_the_units(I, H, batch, steps):  # noqa: E741
    cell = lj.LSTM(I, H)
    agrees(
        cell, draw(cell, steps, batch), mask=np.random.default_rng(0).random((steps, *batch)) < 0.7
    )


@pytest.mark.parametrize(
    ("I", "H", "batch", "steps"),
    [(40, 65, (3,), 150), (40, 260, (1,), 300), (1, 130, (1,), 8200)],
    ids=["rows", "units", "more gates than are kept at once"],
)
def test_more_steps_than_a_chunk(I, H, batch, steps):  # noqa: E741
    cell = lj.LSTM(I, H)
    params, xs, state = draw(cell, steps, batch)
    calm = params._replace(recurrent_kernel=params.recurrent_kernel / 2)  # it forgets rounding
    agrees(cell, Numbers(calm, xs, state), reverse=True)


def test_no_rows_at_all():
    cell = lj.LSTM(3, 5)
    _, (of_params, of_xs, _) = agrees(cell, draw(cell, T, (0,)))
    assert of_xs.shape == (T, 0, 3)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(of_params))


def test_no_steps_at_all_leaves_the_state():
    numbers = draw(lj.LSTM(3, 5), 0)
    final, outputs = lj.unroll(lj.LSTM(3, 5), *numbers, implementation="cpu")
    assert jax.tree.all(jax.tree.map(np.array_equal, final, numbers.state))
    assert outputs.shape == (0, B, 5)


def test_nan_in_padding_reaches_nothing():
    cell = lj.LSTM(3, 17)
    params, xs, state = draw(cell)
    mask = np.random.default_rng(0).random((T, B)) < 0.6
    spoilt = jnp.where(jnp.asarray(mask)[..., None], xs, jnp.nan)
    options = {"mask": mask, "implementation": "cpu", "return_states": True}
    wanted = results(cell, Numbers(params, xs, state), **options)
    # What masked steps leave in memory is no number that anybody looks for, either.
    with jax.debug_nans(False):
        got = results(cell, Numbers(params, spoilt, state), **options)
    assert jax.tree.all(jax.tree.map(np.array_equal, got, wanted))
    assert np.any(got[1][1][mask])
    assert not np.any(got[1][1][~mask])


def test_nothing_that_is_kept_at_masked_steps_is_nan():
    cell = lj.LSTM(3, 17)
    params, xs, state = draw(cell)
    mask = np.random.default_rng(0).random((T, B)) < 0.6
    with jax.debug_nans(True):
        for _ in range(5):
            used = [np.full((T, B, 4 * 17), np.nan, np.float32) for _ in range(20)]
            del used  # this is memory that the next results may come to lie in
            jax.grad(
                lambda p: lj.unroll(cell, p, xs, state, mask=mask, implementation="cpu")[1].sum()
            )(params)


def test_a_step_that_reads_nan_or_infinity_does_as_the_scan():
    cell = lj.LSTM(3, 17)
    params, xs, state = draw(cell)
    xs = xs.at[3, 0, 1].set(jnp.inf).at[4, 1, 2].set(-jnp.inf).at[5, 2, 0].set(jnp.nan)
    got, wanted = (
        lj.unroll(cell, params, xs, state, implementation=name) for name in ("cpu", "scan")
    )
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    assert np.isnan(got[1]).any()
    assert np.isfinite(got[1][:, 3]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gates_that_are_open_or_shut(dtype):
    with jax.enable_x64(dtype == "float64"):
        cell = lj.LSTM(3, 17, dtype=DTYPES[dtype])
        params, xs, state = draw(cell)
        wide = jax.tree.map(lambda leaf: 300 * leaf, params)
        agrees(cell, Numbers(wide, xs, state), dtype)


def test_arrays_in_any_order_and_place():
    cell = lj.LSTM(3, 17)
    params, xs, state = draw(cell)
    wanted = lj.unroll(cell, params, xs, state, implementation="scan")

    def run(params, xs, state):
        """Rows first, and everything transposed."""
        params, state = jax.tree.map(jnp.transpose, (params, state))
        return lj.unroll(cell, params, jnp.swapaxes(xs, 0, 1)[::-1], state, implementation="cpu")

    def odd(leaf):
        """The same numbers at an odd address."""
        room = np.zeros(leaf.size + 1, np.float32)
        room[1:] = np.ravel(leaf)
        return room[1:].reshape(leaf.shape)

    flipped = jax.tree.map(np.transpose, (params, state))
    rows_first = np.swapaxes(xs[::-1], 0, 1)
    got = quick_jit(run)(flipped[0], rows_first, flipped[1])
    also = lj.unroll(cell, *jax.tree.map(odd, (params, xs, state)), implementation="cpu")
    for each in (got, also):
        for a, b in zip(jax.tree.leaves(each), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("argnums", [0, 1, 2, (0, 2)])
def test_each_gradient_alone_is_what_it_is_among_all(argnums):
    cell, mask = lj.LSTM(3, 17), np.random.default_rng(0).random((T, B)) < 0.6
    numbers = draw(cell)

    def loss(*arguments):
        final, outputs = lj.unroll(cell, *arguments, mask=mask, implementation="cpu")
        return jnp.sum(jnp.sin(outputs)) + jnp.sum(final.c**2)

    every = quick_jit(jax.grad(loss, (0, 1, 2)))(*numbers)
    some = quick_jit(jax.grad(loss, argnums))(*numbers)
    wanted = every[argnums] if isinstance(argnums, int) else tuple(every[k] for k in argnums)
    for a, b in zip(jax.tree.leaves(some), jax.tree.leaves(wanted), strict=True):
        assert np.array_equal(a, b)
        assert np.any(a)


@pytest.mark.parametrize("of", [lambda run: run[0].h, lambda run: run[0].c, lambda run: run[2].c])
def test_a_gradient_that_arrives_at_one_state_alone(of):
    cell = lj.LSTM(3, 17)
    numbers = draw(cell)

    def gradient(implementation):
        def loss(*arguments):
            run = lj.unroll(cell, *arguments, return_states=True, implementation=implementation)
            return jnp.sum(jnp.sin(of(run)))

        return quick_jit(jax.grad(loss, (0, 1, 2)))(*numbers)

    assert_near(((), gradient("cpu")), ((), gradient("scan")))


COMPOSED = {
    "stack": (lj.stack(lj.LSTM(3, 8), lj.LSTM(8, 5), dropout=0.2), {"return_states": True}),
    "bidirectional": (lj.bidirectional(lj.LSTM(3, 5)), {"padding": "hold"}),
    "residual": (lj.residual(lj.LSTM(5, 5)), {"remat": 2}),
    "weight_drop": (lj.weight_drop(lj.LSTM(3, 5), 0.5), {"remat": 4}),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_cells_made_of_lstms(name):
    cell, options = COMPOSED[name]
    reset = np.random.default_rng(0).random((T, B)) < 0.3
    key = None if name == "stack" else jax.random.key(0)
    agrees(cell, key=key, lengths=lengths_of(T, (B,)), reset=reset, **options)


def test_dropout_between_layers_leaves_them_their_kernels():
    cell = COMPOSED["stack"][0]
    numbers = draw(cell)
    got, wanted = (
        results(cell, numbers, implementation=name, key=jax.random.key(0))
        for name in ("cpu", "scan")
    )
    assert_near(got, wanted)


def test_rows_with_more_axes_than_their_masks():
    cell = lj.stack(lj.ConvLSTM((4, 4, 3), 5, 3), lj.LSTM(5, 6))
    params = cell.init(jax.random.key(0))
    convolved = cell.cells[0].initial_state((2,))
    normal = np.random.default_rng(0).standard_normal
    xs, rows = normal((T, 2, 4, 4, 3)).astype(np.float32), (2, 4, 4)
    state = (convolved, cell.cells[1].initial_state(rows))
    reset = np.random.default_rng(0).random((T, 2)) < 0.3
    options = {"lengths": np.array([T, 4]), "reset": reset}
    chosen = lj.explain(cell, xs, state, implementation="cpu", **options).kernels
    assert chosen[1] == "cpu"
    runs = [
        results(cell, Numbers(params, xs, state), implementation=name, **options)
        for name in ("cpu", "scan")
    ]
    assert_near(*runs)


def test_a_bare_step_is_taken_for_the_cell_that_it_is():
    cell = lj.LSTM(3, 5)
    params, xs, state = draw(cell)
    chosen = lj.explain(lj.lstm_step, xs, state, params=params, implementation="cpu")
    assert chosen.kernels == ("cpu",)
    agrees(cell, Numbers(params, xs, state))
    got = lj.unroll(lj.lstm_step, params, xs, tuple(state), implementation="cpu")
    wanted = lj.unroll(cell, params, xs, state, implementation="cpu")
    assert jax.tree.all(jax.tree.map(np.array_equal, got, wanted))


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        (lj.lstm_step, {"reset": True}),  # it goes back to the state that it was given
        (lj.learned_initial_state(lj.LSTM(3, 5)), {"reset": True}),  # and this one to its own
        (lj.LSTM(3, 5), {"padding": "raw"}),
        (lj.LSTM(3, 5, activation=jnp.sin), {}),
        (lj.LSTM(3, 5, dtype=jnp.float16), {}),
    ],
    ids=["bare step", "learned state", "raw", "activation", "float16"],
)
def test_what_it_cannot_do_is_done_by_the_scan(cell, options):
    known = lj.LSTM(3, 5) if cell is lj.lstm_step else cell
    numbers = draw(known)
    if "reset" in options:
        options = {"reset": np.random.default_rng(0).random((T, B)) < 0.4}
    options = {**options, "mask": np.random.default_rng(1).random((T, B)) < 0.7}
    got, wanted = (
        results(cell, numbers, implementation=name, **options) for name in ("cpu", "scan")
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, got, wanted))


ON_ANOTHER_SET = """
import jax
import numpy as np
import lstm_jax as lj
from lstm_jax.kernels import native
from tests import test_native

print(native.instruction_set())
mask = np.random.default_rng(0).random((test_native.T, 7)) < 0.7
for dtype in ("float32", "float64"):
    with jax.enable_x64(dtype == "float64"):
        cell = lj.LSTM(33, 37, dtype=dtype)
        numbers = test_native.draw(cell, batch=(7,))
        test_native.agrees(cell, numbers, dtype, mask=mask, reverse=True)
"""


@pytest.mark.parametrize("name", ["avx2", "baseline"])
def test_other_instruction_sets_agree_as_well(name):
    if name == "avx2" and native.instruction_set() not in ("avx2", "avx512"):
        pytest.skip("this machine has no AVX2")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ON_ANOTHER_SET],
        cwd=ROOT,
        env=os.environ | {"LSTM_JAX_ISA": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [name]
