import dataclasses
import itertools
from functools import partial

import flax.linen as nn
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from lstm_jax import LSTM, LSTMParams, LSTMState, TanhRNN, lstm_gates, lstm_init, lstm_step
from lstm_jax.initializers import Chrono, ForgetBias
from tests.helpers import reference

SIZES = [(1, 1), (3, 5), (40, 64)]
BATCHES = [(), (4,), (2, 3)]


def as_jax(problem, dtype):
    """The numbers of a problem for the library, and the same rounded numbers for the reference."""
    params, xs, state = jax.tree.map(lambda a: jnp.asarray(a, dtype), problem)
    return LSTMParams(*params), LSTMState(*state), xs[0]


def by_reference(params, state, x):
    h, c = map(reference.wide, state)
    return reference.step(reference.weights_of(params), h, c, reference.wide(x))


def error(got, expected):
    return max(map(reference.relative_error, got, expected))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("n", "h"), SIZES)
def test_step_is_the_equations_in_float64(n, h, batch):
    params, state, x = as_jax(reference.draw(n, h, batch), jnp.float64)
    assert error(lstm_step(params, state, x), by_reference(params, state, x)) < 1e-12


@pytest.mark.parametrize(("n", "h"), SIZES)
def test_step_is_the_equations_in_float32(n, h):
    params, state, x = as_jax(reference.draw(n, h, (2, 3)), jnp.float32)
    with jax.default_matmul_precision("highest"):  # a GPU would otherwise round the products
        new = lstm_step(params, state, x)
    assert error(new, by_reference(params, state, x)) < 1e-6


@settings(max_examples=10)
@given(
    n=st.integers(1, 6),
    h=st.integers(1, 6),
    batch=st.lists(st.integers(1, 3), max_size=3).map(tuple),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-3, 1.0, 5.0]),  # five saturates the gates
)
def test_step_is_the_equations_for_any_sizes_and_scale(n, h, batch, seed, scale):
    problem = jax.tree.map(lambda a: a * scale, reference.draw(n, h, batch, seed=seed))
    with jax.enable_x64(True):
        params, state, x = as_jax(problem, jnp.float64)
        assert error(lstm_step(params, state, x), by_reference(params, state, x)) < 1e-12


def test_huge_inputs_saturate_without_nan():
    params, state, x = as_jax(reference.draw(3, 5), jnp.float32)
    new, grads = jax.value_and_grad(lambda x: lstm_step(params, state, x).h.sum())(1e30 * x)
    assert jnp.isfinite(new)
    assert jnp.isfinite(grads).all()


@pytest.mark.usefixtures("x64")
def test_gate_order_is_i_f_g_o():
    # With no weights the four biases are the four gates: the numbers below are worked by hand.
    def new_state(bias):
        params = LSTMParams(jnp.zeros((1, 4)), jnp.zeros((1, 4)), jnp.array(bias))
        return jnp.concatenate(lstm_step(params, (jnp.zeros(1), jnp.array([2.0])), jnp.zeros(1)))

    # sigmoid(log 3) = 3/4 and so on; tanh(log 2) = 3/5.
    i, f, g, o = np.log(3.0), np.log(1 / 4), np.log(2.0), np.log(9.0)
    c = 1 / 5 * 2.0 + 3 / 4 * 3 / 5
    expected = np.array([9 / 10 * np.tanh(c), c])
    for bias in itertools.permutations([i, f, g, o]):
        agrees = np.allclose(new_state(bias), expected, rtol=0, atol=1e-12)
        assert agrees == (bias == (i, f, g, o)), bias

    gates = lstm_gates(
        LSTMParams(jnp.zeros((1, 4)), jnp.zeros((1, 4)), jnp.array([i, f, g, o])),
        (jnp.zeros(1), jnp.zeros(1)),
        jnp.zeros(1),
    )
    assert gates._fields == ("i", "f", "g", "o")
    np.testing.assert_allclose(jnp.concatenate(gates), [3 / 4, 1 / 5, 3 / 5, 9 / 10], atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("flax_cell", [nn.LSTMCell, nn.OptimizedLSTMCell])
def test_agrees_with_flax_linen(flax_cell):
    params, state, x = as_jax(reference.draw(3, 5, (2,)), jnp.float64)
    kernels, recurrents, biases = (jnp.split(leaf, 4, axis=-1) for leaf in params)
    flax_params = {}
    for gate, kernel, recurrent, bias in zip("ifgo", kernels, recurrents, biases, strict=True):
        flax_params[f"i{gate}"] = {"kernel": kernel}
        flax_params[f"h{gate}"] = {"kernel": recurrent, "bias": bias}
    module = flax_cell(features=5, param_dtype=jnp.float64)
    (c, h), out = module.apply({"params": flax_params}, (state.c, state.h), x)  # flax: (c, h)
    assert error(lstm_step(params, state, x), (h, c)) < 1e-12
    assert jnp.array_equal(out, h)


def test_a_plain_tuple_numpy_or_lists_will_do_for_a_state():
    params, state, x = as_jax(reference.draw(3, 5), jnp.float32)
    expected = lstm_step(params, state, x)
    for plain in (tuple(state), tuple(map(np.asarray, state)), [s.tolist() for s in state]):
        new = lstm_step(params, plain, x)
        assert isinstance(new, LSTMState)
        assert jax.tree.all(jax.tree.map(jnp.array_equal, new, expected))


def test_the_cell_is_the_functions():
    cell = LSTM(3, 5, bias_init=ForgetBias(2.0))
    params = cell.init(jax.random.key(0))
    by_function = lstm_init(jax.random.key(0), 3, 5, bias_init=ForgetBias(2.0))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, params, by_function))
    state, x = cell.initial_state((2,)), jnp.ones((2, 3))
    assert jax.tree.map(jnp.shape, state) == LSTMState((2, 5), (2, 5))
    assert all(not leaf.any() for leaf in state)
    for method, function in ((cell.step, lstm_step), (cell.gates, lstm_gates)):
        got, expected = method(params, state, x), function(params, state, x)
        assert type(got) is type(expected)
        assert jax.tree.all(jax.tree.map(jnp.array_equal, got, expected))


BF16, F32 = jnp.bfloat16, jnp.float32


@pytest.mark.parametrize(("p", "h", "c"), list(itertools.product([BF16, F32], repeat=3)))
@pytest.mark.parametrize("x", [BF16, F32, jnp.int32])
def test_a_step_keeps_the_dtypes_of_the_state(p, h, c, x):
    params = jax.eval_shape(lambda: lstm_init(jax.random.key(0), 3, 5, dtype=p))
    assert {leaf.dtype for leaf in params} == {jnp.dtype(p)}
    state = (jax.ShapeDtypeStruct((5,), h), jax.ShapeDtypeStruct((5,), c))
    new = jax.eval_shape(lstm_step, params, state, jax.ShapeDtypeStruct((3,), x))
    assert (new.h.dtype, new.c.dtype) == (h, c)


@pytest.mark.parametrize(("dtype", "h", "c"), [(F32, F32, F32), (BF16, BF16, F32)])
def test_dtypes_of_a_cell(dtype, h, c):
    cell = LSTM(3, 5, dtype=dtype)
    assert {leaf.dtype for leaf in cell.init(jax.random.key(0))} == {jnp.dtype(dtype)}
    state = cell.initial_state()
    assert (state.h.dtype, state.c.dtype) == (h, c)


@pytest.mark.usefixtures("x64")
def test_a_float64_cell_is_float64_throughout():
    cell = LSTM(3, 5, dtype=jnp.float64)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    new = jax.eval_shape(cell.step, params, cell.initial_state(), jnp.ones(3))
    assert {leaf.dtype for leaf in (*params, *new)} == {jnp.dtype("float64")}


def test_bfloat16_products_accumulate_in_float32():
    params, state, x = as_jax(reference.draw(40, 64, (4,)), BF16)
    state = LSTMState(state.h, state.c.astype(F32))
    h, c = by_reference(params, state, x)  # of the rounded numbers: only the arithmetic differs
    new = lstm_step(params, state, x)
    assert reference.relative_error(new.c, c) < 2e-6
    assert reference.relative_error(new.h, h) < 2**-8  # h is rounded once, on its way out


def test_a_float32_cell_state_keeps_counting_where_bfloat16_stalls():
    # Gates wide open and g = 1e-3: c counts thousandths.
    bias = jnp.array([100.0, 100.0, 1e-3, 0.0], BF16)
    params = LSTMParams(jnp.zeros((1, 4), BF16), jnp.zeros((1, 4), BF16), bias)

    def after_thousand_steps(c_dtype):
        state = LSTMState(jnp.zeros(1, BF16), jnp.zeros(1, c_dtype))
        return jax.lax.fori_loop(
            0, 1000, lambda _, s: lstm_step(params, s, jnp.zeros(1, BF16)), state
        ).c.item()

    thousandth = float(bias[2])  # 1e-3 as bfloat16 has it
    assert after_thousand_steps(F32) == pytest.approx(1000 * thousandth, rel=1e-4)
    assert after_thousand_steps(BF16) <= 0.5


FUNCTIONS = pytest.mark.parametrize("function", [lstm_step, lstm_gates])


@FUNCTIONS
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (4,)}, r"x must have shape \[..., I\] with I = 3 .*got \(4,\)"),
        ({"x": ()}, r"x must .*got \(\)"),
        ({"h": (4,)}, r"h must have shape \[..., H\] with H = 5 .*got \(4,\)"),
        ({"c": (2, 4)}, r"c must .*got \(2, 4\)"),
        ({"h": (2, 5), "x": (3, 3)}, r"h must have shape \(3, 5\), .*got \(2, 5\)"),
        ({"x": (2, 3)}, r"h must have shape \(2, 5\), the batch axes of x and H; got \(5,\)"),
        ({"c": (1, 5)}, r"c must have shape \(5,\), the batch axes of x and H; got \(1, 5\)"),
        ({"h": (2, 5), "c": (1, 5), "x": (2, 3)}, r"c must have shape \(2, 5\), .*got \(1, 5\)"),
        ({"kernel": (3, 22)}, r"params.kernel must .*\[I, 4H\] .*got \(3, 22\)"),
        ({"kernel": ()}, r"params.kernel must .*\[I, 4H\] .*got \(\)"),
        ({"recurrent_kernel": (5, 24)}, r"params.recurrent_kernel must .*\(5, 24\)"),
        ({"bias": (1,)}, r"params.bias must have shape \[4H\] with H = 5; got \(1,\)"),
    ],
)
def test_wrong_shapes_are_named(change, message, function):
    shapes = {"kernel": (3, 20), "recurrent_kernel": (5, 20), "bias": (20,)}
    shapes |= {"h": (5,), "c": (5,), "x": (3,)} | change
    *params, h, c, x = (jnp.zeros(shape) for shape in shapes.values())
    with pytest.raises(ValueError, match=f"^{function.__name__}: {message}"):
        function(LSTMParams(*params), (h, c), x)


@FUNCTIONS
@pytest.mark.parametrize(
    ("state", "got"),
    [
        (jnp.zeros((2, 5)), r"an array of shape \(2, 5\)"),  # would come apart into h and c
        ((jnp.zeros(5),), "a tuple of 1"),
        (None, "NoneType"),
    ],
)
def test_a_state_that_is_no_pair_is_named(state, got, function):
    params = lstm_init(jax.random.key(0), 3, 5)
    message = rf"^{function.__name__}: state must be a tuple \(h, c\); got {got}"
    with pytest.raises(TypeError, match=message):
        function(params, state, jnp.zeros(3))


@pytest.mark.parametrize("name", ["input_size", "hidden_size"])
def test_sizes_below_one_are_named(name):
    sizes = {"input_size": 3, "hidden_size": 5} | {name: 0}
    with pytest.raises(ValueError, match=f"LSTM: {name} must be at least 1; got 0"):
        LSTM(**sizes)
    with pytest.raises(ValueError, match=f"lstm_init: {name} must be at least 1; got 0"):
        lstm_init(jax.random.key(0), **sizes)


def test_a_cell_is_a_value():
    cell = LSTM(3, 5, bias_init=Chrono(100))
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.hidden_size = 6
    same = LSTM(input_size=3, hidden_size=5, bias_init=Chrono(100))
    assert cell == same
    assert hash(cell) == hash(same)
    others = [LSTM(4, 5, bias_init=Chrono(100)), LSTM(3, 5, bias_init=Chrono(99)), LSTM(3, 5)]
    assert cell not in others
    assert LSTM(3, 5) != LSTM(3, 5, dtype=jnp.bfloat16)


def test_a_cell_prints_what_was_chosen():
    assert repr(LSTM(3, 5)) == "LSTM(input_size=3, hidden_size=5)"
    cell = LSTM(3, 5, bias_init=Chrono(100), dtype="bfloat16")
    written = "LSTM(input_size=3, hidden_size=5, bias_init=Chrono(t_max=100), dtype='bfloat16')"
    assert repr(cell) == written
    assert eval(written) == cell


@pytest.mark.parametrize("form", ["float32", np.float32, jnp.dtype("float32")])
def test_a_dtype_can_be_given_in_many_forms(form):
    assert LSTM(3, 5, dtype=form) == LSTM(3, 5)
    assert hash(LSTM(3, 5, dtype=form)) == hash(LSTM(3, 5))


@pytest.mark.parametrize("make", [LSTM, TanhRNN, partial(lstm_init, jax.random.key(0))])
def test_a_size_is_a_whole_number(make):
    with pytest.raises(TypeError, match=r"hidden_size must be an integer; got 5\.0"):
        make(3, 5.0)


def test_equal_cells_share_one_compilation():
    traced = []

    @partial(jax.jit, static_argnums=0)
    def step(cell, params, state, x):
        traced.append(cell)
        return cell.step(params, state, x)

    params, state, x = as_jax(reference.draw(3, 5), jnp.float32)
    step(LSTM(3, 5), params, state, x)
    step(LSTM(3, 5), params, state, x)
    assert len(traced) == 1
    step(LSTM(3, 5, bias_init=ForgetBias(2.0)), params, state, x)
    assert len(traced) == 2
