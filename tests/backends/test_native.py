"""The native backend against the plain scan: values, states and gradients."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import lstm_jax as lj
from lstm_jax.testing import quick_jit
from tests.helpers.against_scan import (
    B,
    Numbers,
    T,
    agrees,
    draw,
    flags,
    lengths_of,
    needs_native,
    results,
)
from tests.helpers.toys import may_fall_back, slow_case

pytestmark = needs_native

DTYPES = {
    "float32": jnp.float32,
    "float64": jnp.float64,
    "bfloat16": jnp.bfloat16,
    "mixed": lj.Policy(compute=jnp.bfloat16),
}


@st.composite
def cases(draw_, dtypes):
    """Sizes, and options of `unroll`."""
    sizes = [draw_(st.sampled_from(some)) for some in ((1, 2, 33, 40), (1, 3, 17, 64, 100, 128))]
    batch = draw_(st.sampled_from([(7,), (), (1,), (2,), (13,), (2, 3), (0,)]))
    steps, seed = draw_(st.sampled_from([9, 1])), draw_(st.integers(0, 99))
    options = {
        "reverse": draw_(st.booleans()),
        "padding": draw_(st.sampled_from(["zero", "hold"])),
        "return_states": draw_(st.sampled_from([False, False, False, True])),
    }
    match draw_(st.sampled_from(["mask", "lengths", "whole"])):
        case "mask":
            options["mask"] = flags((steps, *batch), 0.6, seed)
        case "lengths":
            options["lengths"] = lengths_of(steps, batch, seed)
    if draw_(st.booleans()):
        options["reset"] = flags((steps, *batch), 0.3, seed + 1)
    if not options["return_states"] and options["padding"] == "zero":
        options["remat"] = draw_(st.sampled_from([None, 4]))
    dtype = draw_(st.sampled_from(dtypes))
    return dtype, sizes, steps, batch, seed, draw_(st.booleans()), options


def check(case):
    name, sizes, steps, batch, seed, own_state, options = case
    with jax.enable_x64(name == "float64"):
        cell = lj.LSTM(*sizes, dtype=DTYPES[name])
        numbers = draw(cell, steps, batch, seed)
        dtype = "bfloat16" if name == "mixed" else name
        agrees(cell, numbers, dtype, own_state=own_state, **options)


@settings(max_examples=7)
@given(case=cases(["float32"]))
def test_random_problems_in_float32(case):
    check(case)


@settings(max_examples=4)
@given(case=cases(["float64"]))
def test_random_problems_in_float64_to_twelve_digits(case):
    check(case)


@settings(max_examples=3)
@given(case=cases(["bfloat16", "mixed"]))
def test_random_problems_in_bfloat16_to_its_rounding(case):
    check(case)


@pytest.mark.parametrize("exported", [slow_case(False), True])
def test_gradients_of_weights_that_are_rounded_are_not_rounded_themselves(exported):
    """Only products are in bfloat16: gradients add up in float32, as they do in the scan."""
    cell = lj.LSTM(8, 32, dtype=DTYPES["mixed"])
    params, xs, _ = draw(cell, 200, (16,))

    def gradient(params, xs, implementation, cell=cell):
        def loss(params):
            outputs = lj.unroll(cell, params, xs, implementation=implementation)[1]
            return jnp.mean(outputs.astype(params.bias.dtype) ** 2)

        return tuple(jax.grad(loss)(params))

    run = jax.jit(lambda weights: gradient(lj.LSTMParams(*weights), xs, "cpu"))
    weights = tuple(params)
    got = (jax.export.export(run)(weights).call if exported else run)(weights)
    scan = gradient(params, xs, "scan")
    with jax.enable_x64(True):
        rounded = jax.tree.map(lambda a: a.astype(jnp.bfloat16).astype(float), (params, xs))
        truth = gradient(*rounded, "scan", lj.LSTM(8, 32, dtype=float))
    for a, b, wanted in zip(got, scan, truth, strict=True):
        off, of_scan = (np.linalg.norm(each - np.asarray(wanted)) for each in (a, b))
        assert off < 1.3 * of_scan
        assert np.mean(np.asarray(a) == a.astype(jnp.bfloat16).astype(jnp.float32)) < 0.1


@pytest.mark.slow
@settings(max_examples=25)
@given(case=cases(list(DTYPES)))
def test_many_random_problems(case):
    check(case)


# One unit and one vector of them, more and less; narrow inputs, and those projected in chunks.
@pytest.mark.parametrize(
    ("I", "H", "batch"),
    [(1, 1, (2,)), (2, 3, ()), (33, 17, (7,)), (40, 100, (13,)), (2, 64, (2, 3)), (33, 128, (1,))],
)
@pytest.mark.parametrize("ragged", [False, True])
def test_any_sizes(I, H, batch, ragged):  # noqa: E741
    options = {"reverse": True}
    if ragged:
        options = {"lengths": lengths_of(T, batch), "reset": flags((T, *batch), 0.3)}
    agrees(lj.LSTM(I, H), draw(lj.LSTM(I, H), T, batch), **options)


@pytest.mark.parametrize(
    ("I", "H", "batch", "steps"),
    [
        (5, 256, (1,), 5),  # fewer rows than threads
        (40, 512, (4,), 3),  # more weights than fit a cache, and projected inputs
        (3, 768, (25,), 2),  # larger sums of weight gradients as well, and rows in halves
        (2, 70, (130,), 3),  # rows again, enough for chunks of one step
    ],
)
def test_threads_that_own_units(I, H, batch, steps):  # noqa: E741
    cell = lj.LSTM(I, H)
    agrees(cell, draw(cell, steps, batch), mask=flags((steps, *batch), 0.7), loose=3)


@pytest.mark.parametrize(
    ("I", "H", "batch", "steps"),
    [(40, 65, (3,), 129), (40, 260, (1,), 300), (1, 130, (1,), 8066)],
    ids=["rows", "units", "more dz than are kept at once"],
)
def test_more_steps_than_a_chunk(I, H, batch, steps):  # noqa: E741
    cell = lj.LSTM(I, H)
    params, xs, state = draw(cell, steps, batch)
    # With small recurrent weights, rounding errors do not grow.
    stable = params._replace(recurrent_kernel=params.recurrent_kernel / 2)
    agrees(cell, Numbers(stable, xs, state), reverse=True)


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
        memory = np.zeros(leaf.size + 1, np.float32)
        memory[1:] = np.ravel(leaf)
        return memory[1:].reshape(leaf.shape)

    flipped = jax.tree.map(np.transpose, (params, state))
    rows_first = np.swapaxes(xs[::-1], 0, 1)
    got = quick_jit(run)(flipped[0], rows_first, flipped[1])
    also = lj.unroll(cell, *jax.tree.map(odd, (params, xs, state)), implementation="cpu")
    for each in (got, also):
        for a, b in zip(jax.tree.leaves(each), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_no_rows_at_all():
    numbers = draw(lj.LSTM(3, 5), T, (0,))
    agrees(lj.LSTM(3, 5), numbers)
    _, (of_params, of_xs, _) = results(lj.LSTM(3, 5), numbers, implementation="cpu")
    assert of_xs.shape == (T, 0, 3)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(of_params))


@may_fall_back
def test_no_steps_at_all_leaves_the_state():
    numbers = draw(lj.LSTM(3, 5), 0)
    final, outputs = lj.unroll(lj.LSTM(3, 5), *numbers, implementation="cpu")
    assert jax.tree.all(jax.tree.map(np.array_equal, final, numbers.state))
    assert outputs.shape == (0, B, 5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gates_that_are_open_or_shut(dtype):
    """Exact pre-activations, from far below to far above where exp overflows."""
    with jax.enable_x64(dtype == "float64"):
        cell, H = lj.LSTM(1, 37, dtype=DTYPES[dtype]), 37
        _, xs, state = draw(cell)
        of_gates = [np.roll(np.linspace(-1800, 1800, H).round(), 9 * gate) for gate in range(4)]
        kernels = (np.zeros((rows, 4 * H)) for rows in (1, H))
        params = [jnp.asarray(a, dtype) for a in (*kernels, np.concatenate(of_gates))]
        agrees(cell, Numbers(lj.LSTMParams(*params), xs, state), dtype)
