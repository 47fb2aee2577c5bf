"""The native kernels where things are unusual: NaN, odd arrays, cells made of LSTMs, old chips."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.backends import ffi
from lstm_jax.testing import quick_jit
from tests.helpers.against_scan import (
    B,
    Numbers,
    T,
    agrees,
    assert_near,
    draw,
    flags,
    kernels,
    lengths_of,
    needs_native,
    results,
)
from tests.helpers.toys import slow_case

pytestmark = needs_native

ROOT = Path(__file__).parents[2]


def test_nan_in_padding_reaches_nothing():
    cell = lj.LSTM(3, 17)
    params, xs, state = draw(cell)
    mask = flags((T, B), 0.6)
    spoilt = jnp.where(jnp.asarray(mask)[..., None], xs, jnp.nan)
    options = {"mask": mask, "implementation": "cpu"}
    wanted = results(cell, Numbers(params, xs, state), **options)
    got = results(cell, Numbers(params, spoilt, state), **options)
    assert jax.tree.all(jax.tree.map(np.array_equal, got, wanted))
    assert np.any(got[1][1][mask])
    assert not np.any(got[1][1][~mask])


def test_nothing_that_is_kept_at_masked_steps_is_nan():
    cell = lj.LSTM(3, 17)
    params, xs, state = draw(cell)
    mask = flags((T, B), 0.6)
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
    cell, mask = lj.LSTM(3, 17), flags((T, B), 0.6)
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
@pytest.mark.parametrize("options", [{}, {"mask": True, "reset": True, "reverse": True}], ids=str)
def test_a_gradient_that_arrives_at_one_state_alone(of, options):
    cell = lj.LSTM(3, 17)
    numbers = draw(cell)
    if options:
        options = options | {"mask": flags((T, B), 0.6), "reset": flags((T, B), 0.3, 1)}

    def gradient(implementation):
        def loss(*arguments):
            run = lj.unroll(
                cell, *arguments, return_states=True, implementation=implementation, **options
            )
            return jnp.sum(jnp.sin(of(run)))

        run = quick_jit(jax.grad(loss, (0, 1, 2)))
        calls.append(run.lower(*numbers).as_text().count("@lstm_jax_backward("))
        return run(*numbers)

    calls = []
    assert_near(((), gradient("cpu")), ((), gradient("scan")))
    assert calls == [1, 0]


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


def test_dropout_between_layers_leaves_them_their_kernels():
    cell = COMPOSED["stack"][0]
    numbers = draw(cell)
    got, wanted = (
        results(cell, numbers, implementation=name, key=jax.random.key(0))
        for name in ("cpu", "scan")
    )
    assert_near(got, wanted)


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


def test_a_bare_step_is_taken_for_the_cell_that_it_is():
    cell = lj.LSTM(3, 5)
    params, xs, state = draw(cell)
    assert kernels(lj.lstm_step, Numbers(params, xs, state)) == {"cpu"}
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
        options = {"reset": flags((T, B), 0.4)}
    options = {**options, "mask": flags((T, B), 0.7, 1)}
    got, wanted = (
        results(cell, numbers, implementation=name, **options) for name in ("cpu", "scan")
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, got, wanted))


OF_MANY_NETWORKS = """
import jax
import lstm_jax as lj
from experiments.bench.timing import memory_growth

cell = lj.LSTM(16, 128)
params, xs = cell.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (128, 4, 1, 16))
gradient = jax.grad(lambda p, x: lj.unroll(cell, p, x, implementation="cpu")[1].sum())
compiled = jax.jit(jax.vmap(gradient, (None, 0))).lower(params, xs).compile()
known = compiled.memory_analysis()
growth = memory_growth(lambda: jax.block_until_ready(compiled(params, xs)), 1)
print(growth - (known.output_size_in_bytes + known.temp_size_in_bytes) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak never falls")
def test_many_networks_are_worked_on_in_the_room_of_a_few():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OF_MANY_NETWORKS],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 128 / 4  # MiB; a room for each would be 100 and more


ON_ANOTHER_SET = """
import jax
import lstm_jax as lj
from lstm_jax.backends import ffi
from tests.helpers import against_scan

print(ffi.instruction_set())
mask = against_scan.flags((against_scan.T, 7), 0.7)
for dtype in ("float32", "float64"):
    with jax.enable_x64(dtype == "float64"):
        cell = lj.LSTM(33, 37, dtype=dtype)
        numbers = against_scan.draw(cell, batch=(7,))
        against_scan.agrees(cell, numbers, dtype, mask=mask, reverse=True)
"""


@pytest.mark.parametrize("name", [slow_case("avx2"), "baseline"])
def test_other_instruction_sets_agree_as_well(name):
    if name == "avx2" and ffi.instruction_set() not in ("avx2", "avx512"):
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
