import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import Policy, unroll
from lstm_jax.cells.min_lstm import MinLSTM, MinLSTMParams, MinLSTMState, positive
from tests.helpers import reference

F16, BF16, F32 = jnp.float16, jnp.bfloat16, jnp.float32
IN, H = 3, 5
ACTIVATIONS = pytest.mark.parametrize("positive_g", [False, True])


def draw(batch, dtype, T=1, n=IN, h=H):
    normal = np.random.default_rng(0).standard_normal
    arrays = normal((n, 3 * h)) / np.sqrt(n), normal(3 * h), normal((T, *batch, n))
    kernel, bias, xs, state = (jnp.asarray(a, dtype) for a in (*arrays, normal((*batch, h))))
    return MinLSTMParams(kernel, bias), xs, MinLSTMState(state)


def by_equations(W, b, xs, h, positive_g):
    """The paper's sequential mode: each gate by its own matrix, then the quotient."""
    (W_i, W_f, W_g), (b_i, b_f, b_g) = np.split(W, 3, axis=1), np.split(b, 3)
    hs = []
    for x in xs:
        f, i = reference.sigmoid(x @ W_f + b_f), reference.sigmoid(x @ W_i + b_i)
        g = x @ W_g + b_g
        if positive_g:
            g = np.where(g.real >= 0, g + 0.5, reference.sigmoid(g))
        h = f / (f + i) * h + i / (f + i) * g
        hs.append(h)
    return np.stack(hs)


def cell_for(positive_g, dtype, n=IN, h=H):
    options = {"activation": positive} if positive_g else {}
    return MinLSTM(n, h, dtype=dtype, **options)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("batch", "positive_g"), [((), False), ((4,), True), ((2, 3), False)])
def test_is_the_equations_in_float64(batch, positive_g):
    params, xs, state = draw(batch, jnp.float64, T=7)
    final, outputs = unroll(cell_for(positive_g, jnp.float64), params, xs, state)
    expected = by_equations(*map(reference.wide, (*params, xs, state.h)), positive_g)
    assert reference.relative_error(outputs, expected) < 1e-12
    assert jnp.array_equal(final.h, outputs[-1])


@ACTIVATIONS
def test_is_the_equations_in_float32(positive_g):
    params, xs, state = draw((4,), F32, n=40, h=64)
    with jax.default_matmul_precision("highest"):  # a GPU would otherwise round the products
        new = cell_for(positive_g, F32, 40, 64).step(params, state, xs[0])
    expected = by_equations(*map(reference.wide, (*params, xs, state.h)), positive_g)[0]
    assert reference.relative_error(new.h, expected) < 1e-6


@pytest.mark.usefixtures("x64")
def test_gradients_are_those_of_the_equations():
    params, xs, state = draw((), jnp.float64, T=4)
    cell, leaves = cell_for(True, jnp.float64), (*params, xs, state.h)

    def loss(W, b, xs, h):
        return unroll(cell, MinLSTMParams(W, b), xs, MinLSTMState(h))[1].sum()

    expected = reference.gradient(lambda *at: by_equations(*at, True).sum(), leaves)
    for got, want in zip(jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*leaves), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_gates_that_are_both_closed_still_share_one():
    # sigmoid(-200) is 0 in float32, and 0 / (0 + 0) is no number.
    logits = np.array([-200.0, -198.5, 0.0, 200.0])
    i, f = (z.ravel() for z in np.meshgrid(logits, logits))
    g = np.linspace(-2, 2, 16)
    cell, bias = MinLSTM(1, 16), jnp.asarray(np.concatenate([i, f, g]), F32)

    def h_t(bias):
        return cell.step(MinLSTMParams(jnp.zeros((1, 48)), bias), (jnp.ones(16),), jnp.zeros(1)).h

    def expected(bias):
        return by_equations(np.zeros((1, 48)), bias, np.zeros((1, 1)), np.ones(16), False)[0]

    np.testing.assert_allclose(h_t(bias), expected(reference.wide(bias)), rtol=1e-5, atol=1e-6)
    grad = jax.jit(jax.grad(lambda bias: h_t(bias).sum()))(bias)
    (want,) = reference.gradient(lambda bias: expected(bias).sum(), (reference.wide(bias),))
    np.testing.assert_allclose(grad, want, rtol=1e-4, atol=1e-6)


def test_coefficients_of_all_steps_at_once_make_the_recurrence():
    params, xs, state = draw((2, 3), F32, T=7)
    cell = MinLSTM(IN, H)
    a, b = map(np.array, jax.jit(cell.coefficients)(params, xs))
    assert a.shape == b.shape == (7, 2, 3, H)
    h, hs = np.array(state.h), []
    for a_t, b_t in zip(a, b, strict=True):
        h = a_t * h + b_t
        hs.append(h)
    np.testing.assert_allclose(unroll(cell, params, xs, state)[1], hs, rtol=1e-5, atol=1e-6)


def test_gates_make_the_coefficients():
    params, xs, state = draw((4,), F32)
    cell = MinLSTM(IN, H)
    i, f, g = map(np.array, jax.jit(cell.gates)(params, state, xs[0]))
    a, b = map(np.array, jax.jit(cell.coefficients)(params, xs[0]))
    np.testing.assert_allclose(i + f, 1, rtol=1e-6)
    assert np.array_equal(a, f)
    np.testing.assert_allclose(b, i * g, rtol=1e-6)
    drop = jax.jit(lambda *at: cell.step(*at, on_candidate=jnp.zeros_like))
    np.testing.assert_allclose(drop(params, state, xs[0]).h, f * np.array(state.h), rtol=1e-6)


def test_the_positive_activation_is_positive_and_continuous():
    x = jnp.linspace(-20, 20, 2001)
    y = positive(x)
    assert (y > 0).all()
    assert (jnp.diff(y) > 0).all()
    assert jnp.diff(y).max() < 0.021
    assert jnp.isfinite(jax.vmap(jax.grad(positive))(jnp.array([-1e30, -200.0, 0.0, 1e30]))).all()


@pytest.mark.parametrize(
    ("p", "h"), [(F32, F32), (BF16, BF16), (F16, F16), (BF16, F32), (F32, BF16)]
)
def test_a_step_keeps_the_dtype_of_the_state(p, h):
    cell = MinLSTM(IN, H, dtype=p)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    assert {leaf.dtype for leaf in params} == {jnp.dtype(p)}
    assert cell.initial_state().h.dtype == p
    x, state = jax.ShapeDtypeStruct((IN,), F32), (jax.ShapeDtypeStruct((H,), h),)
    assert jax.eval_shape(cell.step, params, state, x).h.dtype == h
    assert {a.dtype for a in jax.eval_shape(cell.coefficients, params, x)} == {jnp.dtype(F32)}


@pytest.mark.usefixtures("x64")
def test_a_float64_cell_is_float64_throughout():
    cell = MinLSTM(IN, H, dtype=jnp.float64)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    new = jax.eval_shape(cell.step, params, cell.initial_state(), jnp.ones(IN))
    assert {leaf.dtype for leaf in (*params, *new)} == {jnp.dtype("float64")}


def test_bfloat16_products_accumulate_in_float32():
    params, xs, state = draw((4,), BF16, n=40, h=64)
    state = MinLSTMState(state.h.astype(F32))
    new = MinLSTM(40, 64, dtype=Policy(BF16, output=F32)).step(params, state, xs[0])
    expected = by_equations(*map(reference.wide, (*params, xs, state.h)), False)[0]
    assert reference.relative_error(new.h, expected) < 2e-6


def test_starts_with_a_positive_forget_gate_bias():
    params = MinLSTM(IN, 2).init(jax.random.key(0))
    assert params.kernel.shape == (IN, 6)
    assert params.bias.tolist() == [0, 0, 1, 1, 0, 0]
    assert jnp.array_equal(MinLSTM(IN, 2).initial_state((2, 3)).h, jnp.zeros((2, 3, 2)))


def test_a_cell_is_a_value():
    cell = MinLSTM(3, 5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.hidden_size = 6
    assert cell == MinLSTM(input_size=3, hidden_size=5, dtype="float32")
    assert hash(cell) == hash(MinLSTM(3, 5))
    assert cell != MinLSTM(3, 5, activation=positive)
    assert repr(cell) == "MinLSTM(input_size=3, hidden_size=5)"


@pytest.mark.parametrize("name", ["input_size", "hidden_size"])
def test_wrong_sizes_are_named(name):
    sizes = {"input_size": 3, "hidden_size": 5}
    with pytest.raises(ValueError, match=f"^MinLSTM: {name} must be at least 1; got 0"):
        MinLSTM(**(sizes | {name: 0}))
    with pytest.raises(TypeError, match=f"^MinLSTM: {name} must be an integer; got 2.0"):
        MinLSTM(**(sizes | {name: 2.0}))


@pytest.mark.parametrize("method", ["step", "gates"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (4,)}, r"x must have shape \[..., I\] with I = 3 .*got \(4,\)"),
        ({"h": (4,)}, r"h must have shape \[..., H\] with H = 5 .*got \(4,\)"),
        ({"x": (2, 3)}, r"h must have shape \(2, 5\), the batch axes of x and H; got \(5,\)"),
        ({"kernel": (3, 5)}, r"params.kernel must have shape \[I, 3H\] with I = 3, H = 5; got"),
        ({"bias": (5,)}, r"params.bias must have shape \[3H\] with I = 3, H = 5; got \(5,\)"),
    ],
)
def test_wrong_shapes_are_named(change, message, method):
    shapes = {"kernel": (3, 15), "bias": (15,), "h": (5,), "x": (3,)} | change
    *params, h, x = (np.zeros(shape, "float32") for shape in shapes.values())
    with pytest.raises(ValueError, match=rf"^MinLSTM\.{method}: {message}"):
        getattr(MinLSTM(3, 5), method)(MinLSTMParams(*params), (h,), x)


def test_coefficients_name_a_wrong_input():
    cell = MinLSTM(3, 5)
    params = cell.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"^MinLSTM\.coefficients: x must have shape"):
        cell.coefficients(params, jnp.zeros((7, 4)))
    message = r"^MinLSTM\.step: state must be a tuple \(h,\); got a tuple of 0"
    with pytest.raises(TypeError, match=message):
        cell.step(params, (), jnp.zeros(3))
