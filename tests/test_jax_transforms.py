"""jit, vmap, grad, jvp and their compositions, each against NumPy or a Python loop."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from lstm_jax import LSTM, LSTMParams, LSTMState, TanhRNN, lstm_step, unroll
from tests.helpers import reference
from tests.helpers.toys import assert_leaves_close

I, H, T, BATCH = 3, 5, 4, (2,)  # noqa: E741
ARGUMENTS = reference.draw(I, H, BATCH, T)
CELL = LSTM(I, H)

# Weights of h_1 .. h_T and c_T in the loss: arbitrary, so that no gradient cancels.
ON_H = np.random.default_rng(1).standard_normal((T, *BATCH, H))
ON_C = np.random.default_rng(2).standard_normal((*BATCH, H))


def arguments(dtype=jnp.float64):
    params, xs, state = jax.tree.map(lambda a: jnp.asarray(a, dtype), ARGUMENTS)
    return LSTMParams(*params), xs, LSTMState(*state)


def loss(params, xs, state):
    final, outputs = unroll(CELL, params, xs, state)
    return jnp.sum(ON_H * outputs**2) + jnp.sum(ON_C * final.c**2)


def numpy_loss(kernel, recurrent, bias, xs, h, c):
    """`loss` in NumPy, without code of the library."""
    weights = reference.weights_of((kernel, recurrent, bias))
    (_, c), hs = reference.run(weights, xs, h, c)
    return np.sum(ON_H * hs**2) + np.sum(ON_C * c**2)


def numpy_gradient(*at):
    return reference.gradient(numpy_loss, at)


def flat(params, xs, state):
    return [*params, xs, *state]


FLAT = flat(*ARGUMENTS)


def direction(seed=3):
    normal = np.random.default_rng(seed).standard_normal
    return [normal(np.shape(a)) for a in FLAT]


def packed(kernel, recurrent, bias, xs, h, c):
    return LSTMParams(kernel, recurrent, bias), jnp.asarray(xs), LSTMState(h, c)


@pytest.mark.parametrize("apply", ["step", "unroll"])
def test_jit_changes_nothing(apply):
    params, xs, state = arguments(jnp.float32)
    function, x = (lstm_step, xs[0]) if apply == "step" else (partial(unroll, CELL), xs)
    args = (params, state, x) if apply == "step" else (params, x, state)
    assert_leaves_close(jax.jit(function)(*args), function(*args), 1e-6)


@pytest.mark.usefixtures("x64")
def test_gradients_of_params_inputs_and_state():
    assert loss(*arguments()) == pytest.approx(numpy_loss(*FLAT), rel=1e-13)
    grads = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*arguments())
    assert_leaves_close(flat(*grads), numpy_gradient(*FLAT), 1e-12)


@pytest.mark.usefixtures("x64")
def test_the_complex_step_itself_against_finite_differences():
    v, eps = direction(), 1e-6
    ahead, behind = (
        numpy_loss(*(a + sign * eps * d for a, d in zip(FLAT, v, strict=True))) for sign in (1, -1)
    )
    slope = reference.derivative(numpy_loss, tuple(FLAT), tuple(v))
    assert slope == pytest.approx((ahead - behind) / (2 * eps), rel=1e-7)


@pytest.mark.usefixtures("x64")
def test_gradients_through_an_unrolled_and_a_reversed_loop():
    params, xs, state = arguments()

    def reversed_loss(params, xs, state):
        final, outputs = unroll(CELL, params, xs[::-1], state, reverse=True, unroll=3)
        return jnp.sum(ON_H * outputs[::-1] ** 2) + jnp.sum(ON_C * final.c**2)

    grads = jax.jit(jax.grad(reversed_loss, argnums=(0, 1, 2)))(params, xs, state)
    assert_leaves_close(flat(*grads), numpy_gradient(*FLAT), 1e-12)


@pytest.mark.usefixtures("x64")
def test_jvp():
    v = direction()
    value, slope = jax.jvp(loss, arguments(), packed(*map(jnp.asarray, v)))
    assert value == pytest.approx(numpy_loss(*FLAT), rel=1e-13)
    expected = reference.derivative(numpy_loss, tuple(FLAT), tuple(v))
    assert slope == pytest.approx(expected, rel=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("order", ["forward over reverse", "reverse over reverse"])
def test_hessian_vector_product(order):
    params, xs, state = arguments()
    v, eps = direction()[:3], 1e-5
    grad = jax.grad(lambda params: loss(params, xs, state))
    along = LSTMParams(*map(jnp.asarray, v))
    if order == "forward over reverse":
        product = jax.jit(lambda p: jax.jvp(grad, (p,), (along,))[1])(params)
    else:
        product = jax.jit(jax.grad(lambda p: sum(map(jnp.vdot, grad(p), along))))(params)
    ahead, behind = (
        numpy_gradient(*(a + sign * eps * d for a, d in zip(FLAT[:3], v, strict=True)), *FLAT[3:])[
            :3
        ]
        for sign in (1, -1)
    )
    expected = [(a - b) / (2 * eps) for a, b in zip(ahead, behind, strict=True)]
    assert_leaves_close(product, expected, 1e-8)


@pytest.mark.usefixtures("x64")
def test_vmap_over_inputs_is_a_batch():
    params, xs, state = arguments()
    batched = unroll(CELL, params, xs, state)
    mapped = jax.vmap(partial(unroll, CELL), in_axes=(None, 1, 0), out_axes=(0, 1))
    assert_leaves_close(mapped(params, xs, state), batched, 1e-12)


@pytest.mark.usefixtures("x64")
def test_vmap_over_params_is_an_ensemble():
    params, xs, state = arguments()
    members = [jax.tree.map(lambda a, k=k: a * k, params) for k in (0.5, 1.0, 2.0)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    run = jax.jit(jax.vmap(jax.value_and_grad(loss), in_axes=(0, None, None)))
    values, grads = run(stacked, xs, state)
    for k, member in enumerate(members):
        at = list(map(np.asarray, flat(member, xs, state)))
        assert values[k] == pytest.approx(numpy_loss(*at), rel=1e-11)
        grad = jax.tree.map(lambda g, k=k: g[k], grads)
        assert_leaves_close(grad, numpy_gradient(*at)[:3], 1e-11)


@pytest.mark.slow
def test_vmap_over_keys_draws_what_a_loop_draws():
    keys = jax.random.split(jax.random.key(0), 2)
    stacked = jax.vmap(CELL.init)(keys)
    for k, key in enumerate(keys):
        assert_leaves_close(jax.tree.map(lambda leaf, k=k: leaf[k], stacked), CELL.init(key), 1e-6)
    assert not jnp.allclose(stacked.kernel[0], stacked.kernel[1])


def test_checkpointing_the_step_keeps_the_gradient():
    params, xs, state = arguments(jnp.float32)

    def of(step):
        return jax.jit(jax.grad(lambda p: unroll(step, p, xs, state)[1].sum()))(params)

    assert_leaves_close(of(jax.checkpoint(lstm_step)), of(lstm_step), 1e-5)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_a_batch_over_two_devices_is_the_batch_on_one(axis_type):
    devices = jax.devices("cpu")
    assert len(devices) == 2, "conftest.py simulates two"
    mesh = jax.make_mesh((2,), ("batch",), (axis_type,), devices=devices)
    params, xs, state = jax.device_put(arguments(jnp.float32), devices[0])
    run = jax.jit(lambda *args: unroll(CELL, *args))
    sharded = (
        jax.device_put(params, NamedSharding(mesh, P())),
        jax.device_put(xs, NamedSharding(mesh, P(None, "batch"))),
        jax.device_put(state, NamedSharding(mesh, P("batch"))),
    )
    final, outputs = run(*sharded)
    assert_leaves_close((final, outputs), run(params, xs, state), 1e-6)
    assert outputs.sharding.shard_shape(outputs.shape) == (T, 1, H)  # and it stays sharded
    assert final.c.sharding.device_set == set(devices)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("cell", [CELL, TanhRNN(I, H)], ids=["lstm", "tanh_rnn"])
def test_a_cells_own_state_follows_a_batch_over_two_devices(cell, axis_type):
    mesh = jax.make_mesh((2,), ("batch",), (axis_type,), devices=jax.devices("cpu"))
    params, (_, xs, _) = cell.init(jax.random.key(0)), arguments(jnp.float32)

    def value(params, xs):
        return jnp.sum(jnp.sin(unroll(cell, params, xs)[1]))

    expected = jax.value_and_grad(value)(params, xs)
    with jax.set_mesh(mesh):
        sharded_xs = jax.device_put(xs, NamedSharding(mesh, P(None, "batch")))
        whole_params = jax.device_put(params, NamedSharding(mesh, P()))
        for run in (unroll, jax.jit(unroll, static_argnums=0)):
            _, outputs = run(cell, whole_params, sharded_xs)
            assert outputs.sharding.shard_shape(outputs.shape) == (T, 1, H)
        got = jax.jit(jax.value_and_grad(value))(whole_params, sharded_xs)
    assert_leaves_close(got, expected, 1e-5)


@pytest.mark.parametrize("cell", [CELL, TanhRNN(I, H)], ids=["lstm", "tanh_rnn"])
def test_a_cells_own_state_works_inside_of_shard_map(cell):
    mesh = jax.make_mesh((2,), ("batch",), (AxisType.Auto,), devices=jax.devices("cpu"))
    params, (_, xs, _) = cell.init(jax.random.key(0)), arguments(jnp.float32)
    with jax.set_mesh(mesh):
        mapped = jax.shard_map(
            lambda params, xs: unroll(cell, params, xs)[1],
            in_specs=(P(), P(None, "batch")),
            out_specs=P(None, "batch"),
        )
        outputs = jax.jit(mapped)(params, xs)
    assert_leaves_close(outputs, unroll(cell, params, xs)[1], 1e-6)
