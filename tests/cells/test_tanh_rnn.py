import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import TanhRNN, TanhRNNParams, TanhRNNState, unroll
from tests.helpers import reference


def draw(input_size, hidden_size, batch, dtype):
    n, m = input_size, hidden_size
    normal = np.random.default_rng(0).standard_normal
    shapes = (n, m), (m, m), (m,), (7, *batch, n), (*batch, m)
    *params, xs, h = (jnp.asarray(normal(shape) / 2, dtype) for shape in shapes)
    return TanhRNNParams(*params), xs, h


def by_loop(params, xs, h):
    W, U, b, xs, h = map(reference.wide, (*params, xs, h))
    hs = []
    for x in xs:
        h = np.tanh(np.concatenate([h, x], axis=-1) @ np.concatenate([U, W]) + b)
        hs.append(h)
    return np.stack(hs)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 5)])
def test_is_the_equation_in_float64(n, m, batch):
    params, xs, h = draw(n, m, batch, jnp.float64)
    final, outputs = unroll(TanhRNN(n, m, dtype=jnp.float64), params, xs, TanhRNNState(h))
    assert reference.relative_error(outputs, by_loop(params, xs, h)) < 1e-12
    assert jnp.array_equal(final.h, outputs[-1])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.relu])
def test_the_residual_connection_is_that_of_flax(activation):
    params, xs, h = draw(3, 5, (4,), jnp.float64)
    module = nn.SimpleCell(5, activation, residual=True, param_dtype=jnp.float64)
    theirs = {
        "i": {"kernel": params.kernel, "bias": params.bias},
        "h": {"kernel": params.recurrent_kernel},
    }
    expected, _ = module.apply({"params": theirs}, h, xs[0])
    cell = TanhRNN(3, 5, activation=activation, residual=True, dtype=jnp.float64)
    new = cell.step(params, h, xs[0])
    assert reference.relative_error(new.h, expected) < 1e-12
    plain = dataclasses.replace(cell, residual=False).step(params, h, xs[0])
    assert reference.relative_error(plain.h, expected) > 0.1


def test_is_the_equation_in_float32():
    params, xs, h = draw(40, 64, (4,), jnp.float32)
    with jax.default_matmul_precision("highest"):  # a GPU would otherwise round the products
        new = TanhRNN(40, 64).step(params, (h,), xs[0])
    assert reference.relative_error(new.h, by_loop(params, xs[:1], h)[0]) < 1e-6


@pytest.mark.parametrize("p", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("h", [jnp.bfloat16, jnp.float32])
def test_a_step_keeps_the_dtype_of_the_state(p, h):
    params = jax.eval_shape(TanhRNN(3, 5, dtype=p).init, jax.random.key(0))
    assert {leaf.dtype for leaf in params} == {jnp.dtype(p)}
    assert TanhRNN(3, 5, dtype=p).initial_state().h.dtype == p
    x, state = jax.ShapeDtypeStruct((3,), jnp.float32), (jax.ShapeDtypeStruct((5,), h),)
    assert jax.eval_shape(TanhRNN(3, 5).step, params, state, x).h.dtype == h


def test_starts_orthogonal_and_at_zero():
    cell = TanhRNN(3, 5)
    kernel, recurrent, bias = cell.init(jax.random.key(0))
    assert kernel.shape == (3, 5)
    np.testing.assert_allclose(recurrent.T @ recurrent, jnp.eye(5), atol=1e-5)
    assert jnp.array_equal(bias, jnp.zeros(5))
    assert jnp.array_equal(cell.initial_state((2, 3)).h, jnp.zeros((2, 3, 5)))


def test_a_cell_is_a_value():
    cell = TanhRNN(3, 5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.hidden_size = 6
    assert cell == TanhRNN(input_size=3, hidden_size=5)
    assert hash(cell) == hash(TanhRNN(input_size=3, hidden_size=5))
    assert cell != TanhRNN(3, 6)
    assert repr(cell).startswith("TanhRNN(input_size=3, hidden_size=5")


@pytest.mark.parametrize("name", ["input_size", "hidden_size"])
def test_sizes_below_one_are_named(name):
    sizes = {"input_size": 3, "hidden_size": 5} | {name: 0}
    with pytest.raises(ValueError, match=f"TanhRNN: {name} must be at least 1; got 0"):
        TanhRNN(**sizes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (4,)}, r"x must have shape \[..., I\] with I = 3 .*got \(4,\)"),
        ({"h": (4,)}, r"h must have shape \[..., H\] with H = 5 .*got \(4,\)"),
        ({"x": (2, 3)}, r"h must have shape \(2, 5\), the batch axes of x and H; got \(5,\)"),
        ({"h": (1, 5), "x": (2, 3)}, r"h must have shape \(2, 5\), .*got \(1, 5\)"),
        ({"kernel": (3, 1)}, r"params.kernel must have shape \[I, H\] with H = 5; got \(3, 1\)"),
        ({"recurrent_kernel": (5, 1)}, r"params.recurrent_kernel must have shape \[H, H\]"),
        ({"bias": (1,)}, r"params.bias must have shape \[H\] with H = 5; got \(1,\)"),
    ],
)
def test_wrong_shapes_are_named(change, message):
    shapes = {"kernel": (3, 5), "recurrent_kernel": (5, 5), "bias": (5,), "h": (5,), "x": (3,)}
    *params, h, x = (jnp.zeros(shape) for shape in (shapes | change).values())
    with pytest.raises(ValueError, match=rf"^TanhRNN\.step: {message}"):
        TanhRNN(3, 5).step(TanhRNNParams(*params), (h,), x)


@pytest.mark.parametrize(
    ("state", "got"),
    [
        (None, "NoneType"),
        ((jnp.zeros(5), jnp.zeros(5)), "a tuple of 2"),
    ],
)
def test_a_state_that_is_no_tuple_of_one_is_named(state, got):
    cell = TanhRNN(3, 5)
    message = rf"^TanhRNN\.step: state must be a tuple \(h,\); got {got}"
    with pytest.raises(TypeError, match=message):
        cell.step(cell.init(jax.random.key(0)), state, jnp.zeros(3))
