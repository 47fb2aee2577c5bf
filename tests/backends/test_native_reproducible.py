"""The native backend returns the same bits: repeated, in any batch, thread, and device."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.testing import quick_jit
from tests.helpers.against_scan import Numbers, draw, flags, needs_native
from tests.helpers.toys import slow_case

pytestmark = needs_native

T = 9


def same_bits(got, wanted):
    """Whether two trees are equal to the last bit, NaN and signs of zeros included."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def gradient(cell, **options):
    """What `unroll` returns, and the gradients of a loss that treats all rows alike."""

    def loss(params, xs, state):
        run = lj.unroll(cell, params, xs, state, implementation="cpu", **options)
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(run)), run

    return quick_jit(jax.grad(loss, (0, 1, 2), has_aux=True))


# Threads own rows, or units; projected inputs; sums by each thread, or by all together.
@pytest.mark.parametrize(("I", "H", "rows"), [(3, 17, 7), (40, 100, 13), (3, 256, 1), (3, 512, 5)])
def test_repeated_calls(I, H, rows):  # noqa: E741
    cell = lj.LSTM(I, H)
    numbers = draw(cell, T, (rows,))
    run = gradient(cell, mask=flags((T, rows), 0.7))
    first = run(*numbers)
    assert all(same_bits(run(*numbers), first) for _ in range(10))


@pytest.mark.parametrize("dtype", ["float32", slow_case("float64")])
@pytest.mark.parametrize(("I", "H"), [(3, 17), (40, 100), (3, 256)])
def test_a_row_is_the_same_in_any_batch(I, H, dtype):  # noqa: E741
    with jax.enable_x64(dtype == "float64"):
        cell = lj.LSTM(I, H, dtype=dtype)
        params, xs, state = draw(cell, T, (13,))
        reset = flags((T, 13), 0.2)

        def of(rows):
            some = Numbers(params, xs[:, rows], jax.tree.map(lambda leaf: leaf[rows], state))
            (_, d_xs, d_state), (final, outputs) = gradient(cell, reset=reset[:, rows])(*some)
            return d_xs[:, -1], outputs[:, -1], jax.tree.map(lambda a: a[-1], (d_state, final))

        every = of(slice(13))
        for rows in (slice(12, 13), slice(11, 13), slice(6, 13)):
            assert same_bits(of(rows), every)


def test_saving_for_a_gradient_changes_no_bit_of_the_outputs():
    cell = lj.LSTM(3, 37)
    numbers = draw(cell, T, (7,))
    _, with_gradient = gradient(cell)(*numbers)
    without = quick_jit(lambda *arguments: lj.unroll(cell, *arguments, implementation="cpu"))(
        *numbers
    )
    assert same_bits(without, with_gradient)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_two_halves_are_the_whole(dtype):
    """In bfloat16 too: the hidden state is rounded at every step, not at the end."""
    cell = lj.LSTM(3, 37, dtype=dtype)
    params, xs, state = draw(cell, T, (7,))
    run = quick_jit(lambda *arguments: lj.unroll(cell, *arguments, implementation="cpu"))
    final, outputs = run(params, xs, state)
    middle, first = run(params, xs[:4], state)
    after, second = run(params, xs[4:], middle)
    assert same_bits((after, jnp.concatenate([first, second])), (final, outputs))


@pytest.mark.parametrize(("H", "rows"), [(64, 5), (256, 1)], ids=["rows", "units"])
def test_many_python_threads_at_once(H, rows):
    cell = lj.LSTM(3, H)
    numbers = draw(cell, 30, (rows,))
    run = gradient(cell)
    wanted = run(*numbers)
    with ThreadPoolExecutor(6) as threads:
        answers = threads.map(lambda _: same_bits(run(*numbers), wanted), range(300))
        assert all(answers)


def test_many_networks_on_two_devices_at_once():
    cell = lj.LSTM(3, 64)
    numbers = draw(cell, 30, (5,))
    run = gradient(cell)
    on_each = [jax.device_put(numbers, device) for device in jax.devices("cpu")]
    wanted = run(*numbers)
    answers = [run(*placed) for _ in range(20) for placed in on_each]
    assert all(same_bits(answer, wanted) for answer in answers)
