import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import (
    LSTM,
    LSTMParams,
    LSTMState,
    TanhRNN,
    gradient_flow,
    lstm_step,
    trace,
    unroll,
)
from lstm_jax.types import Cell
from tests.helpers import reference


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

    loop_final, states = reference.reference_unroll(cell.step, params, xs, state)
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


def test_outside_of_jit_an_equal_cell_compiles_nothing(caplog):
    _, params, xs, state = draw(dtype=jnp.float32)
    of_outputs = jax.grad(lambda params: unroll(LSTM(3, 5), params, xs, state)[1].sum())
    for name, run in {
        "unroll": lambda: unroll(LSTM(3, 5), params, xs, state),
        "gradient": lambda: of_outputs(params),
        "trace": lambda: trace(LSTM(3, 5), params, xs, state),
        "gradient_flow": lambda: gradient_flow(LSTM(3, 5), params, xs, jnp.sum, state),
        "a step under jit": jax.jit(lambda: unroll(lstm_step, params, xs, state)),
    }.items():
        with jax.log_compiles():
            run()
            caplog.clear()
            run()
        compiled = [r.message for r in caplog.records if "Compiling" in r.message]
        assert compiled == [], name


def total(runner, cell, xs=None):
    """What a cell without parameters has at the end of ones, by either way of running it."""
    xs, state = jnp.ones((3, 1)) if xs is None else xs, (jnp.zeros(1),)
    if runner is unroll:
        return unroll(cell, None, xs, state)[0][0].item()
    return gradient_flow(cell, None, xs, lambda s: s[-1].sum(), state)[0][0].item()


@pytest.mark.parametrize("runner", [unroll, gradient_flow])
def test_what_a_step_closes_over_may_change_between_calls(runner):
    def step(params, state, x):
        return (scale * state[0] + x,)

    scale = 1.0
    assert total(runner, step) == {unroll: 3.0, gradient_flow: 1.0}[runner]
    scale = 2.0
    assert total(runner, step) == {unroll: 7.0, gradient_flow: 4.0}[runner]


def test_even_the_state_that_a_step_returns_may_change_between_calls():
    def step(params, state, x):
        return kind(*state)

    for kind in (LSTMState, lambda *state: state):
        final, _ = unroll(step, None, jnp.ones((3, 1)), (jnp.zeros(1), jnp.zeros(1)))
        assert type(final) is type(kind(1, 2))


class Decay:
    """A cell whose numbers are no part of its value: each kind of it below is no value either."""

    scale: Any

    def init(self, key):
        return None

    def initial_state(self, batch_shape=()):
        return (jnp.zeros((*batch_shape, 1)),)

    def step(self, params, state, x):
        return (self.scale * state[0] + x,)


@dataclasses.dataclass
class Mutable(Decay):
    scale: Any
    __hash__ = object.__hash__


@dataclasses.dataclass(frozen=True)
class Empty(Decay):
    pass


class Subclass(Empty):
    """Can be given attributes that `==` of its frozen parent does not see."""

    def __init__(self, scale):
        self.scale = scale


@dataclasses.dataclass(frozen=True)
class Unhashable(Decay):
    scale: Any


@pytest.mark.parametrize("runner", [unroll, gradient_flow])
@pytest.mark.parametrize("make", [Mutable, Subclass])
def test_a_cell_that_can_change_is_compiled_again(make, runner):
    cell = make(1.0)
    assert isinstance(cell, Cell)
    assert total(runner, cell) == {unroll: 3.0, gradient_flow: 1.0}[runner]
    cell.scale = 2.0
    assert total(runner, cell) == {unroll: 7.0, gradient_flow: 4.0}[runner]
    assert total(runner, cell.step) == {unroll: 7.0, gradient_flow: 4.0}[runner]


@pytest.mark.parametrize("runner", [unroll, gradient_flow])
def test_a_cell_need_not_be_hashable(runner):
    cell = Unhashable(jnp.full(1, 2.0))
    with pytest.raises(TypeError, match="unhashable"):
        hash(cell)
    assert total(runner, cell) == {unroll: 7.0, gradient_flow: 4.0}[runner]


def test_a_method_of_an_object_that_holds_a_tracer_leaks_none():
    cell = Mutable(None)

    def run(scale):
        cell.scale = scale
        return unroll(cell.step, None, jnp.ones((3, 1)), (jnp.zeros(1),))[0][0]

    for scale, expected in ((1.0, 3.0), (2.0, 7.0)):  # traced twice, each with its own tracer
        assert jax.jit(lambda scale: run(scale))(scale) == expected


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
        ({"remat": True}, ValueError, 'unroll: remat must be None, "step" or a number .*got True'),
        ({"remat": 0}, ValueError, 'unroll: remat must be None, "step" or a number .*got 0'),
        ({"remat": jnp.float32(2)}, ValueError, 'unroll: remat must be None, "step" or a number'),
        ({"padding": "none"}, ValueError, "unroll: padding must be one of .*got 'none'"),
        ({"implementation": "gpu"}, ValueError, "unroll: implementation must be .*got 'gpu'"),
        ({"key": 0}, TypeError, r"unroll: key must be made by jax\.random\.key; got 0"),
        (
            {"cell": lambda p, s, x: s, "xs": ()},
            ValueError,
            r"unroll: xs must contain at least one array \[T, ...\]; got a tuple of 0",
        ),
        ({"xs": 1.0}, ValueError, r"unroll: xs must have time as axis 0.*\[\(\)\]"),
        (
            {"cell": lambda p, s, x: s, "xs": (ZEROS, ZEROS[1:])},
            ValueError,
            "unroll: the arrays in xs differ in length T",
        ),
        ({"xs": ZEROS[..., :2]}, ValueError, r"lstm_step: x must .*got \(2, 2\)"),
        ({"state": (H5[0], H5[0])}, ValueError, r"lstm_step: h must have shape \(2, 5\), .*\(5,\)"),
        ({"state": H5}, TypeError, r"lstm_step: state must be a tuple \(h, c\); got an array"),
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
def test_errors_name_the_function_and_the_argument(arguments, error, message):
    cell = LSTM(3, 5)
    params = LSTMParams(jnp.zeros((3, 20)), jnp.zeros((5, 20)), jnp.zeros(20))
    with pytest.raises(error, match=message):
        unroll(**({"cell": cell, "params": params, "xs": ZEROS} | arguments))


@pytest.mark.parametrize("number", [np.int64(3), np.uint8(3), np.array(3)])
def test_numbers_of_numpy_count_as_numbers(number):
    cell = LSTM(2, 3)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((7, 2))
    wanted = unroll(cell, params, xs, remat=3, unroll=3)
    got = unroll(cell, params, xs, remat=number, unroll=number)
    assert jax.tree.all(jax.tree.map(np.array_equal, got, wanted))
    with pytest.raises(TypeError, match=r"unroll must be an integer; got 3\.0"):
        unroll(cell, params, xs, unroll=3.0)
    with pytest.raises(ValueError, match=r"a number of steps of at least 1; got 3\.0"):
        unroll(cell, params, xs, remat=3.0)


def test_inputs_without_the_batch_axes_of_a_mask_are_an_error():
    """A mask would broadcast such a leaf, and the sums over it would be wrong."""
    xs = {"a": jnp.ones((6, 2, 3)), "b": jnp.ones(6)}
    with pytest.raises(ValueError, match=r"arrays in xs must have the batch axes .*got \(\)"):
        unroll(SumOfLeaves(), (), xs, lengths=jnp.array([6, 3]))


def test_numbers_of_python_in_an_initial_state_are_arrays():
    _, _, states = unroll(SumOfLeaves(), (), {"a": jnp.ones((6, 3))}, return_states=True)
    assert states[1].shape == (7,)


@dataclasses.dataclass(frozen=True)
class SumOfLeaves:
    """``h_t = h_{t-1} + `` the sum of all leaves, and a counter of steps."""

    def init(self, key):
        return ()

    def initial_state(self, batch_shape=()):
        return (jnp.zeros((*batch_shape, 3)), 0.0)

    def batch_shape(self, x):
        return x["a"].shape[:-1]

    def step(self, params, state, x):
        h, count = state
        return (h + sum(jnp.sum(leaf) for leaf in jax.tree.leaves(x)), count + 1.0)
