"""Batches over two devices, with masks, resets and random numbers, on every kind of mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import lstm_jax as lj
from lstm_jax.testing import quick_jit
from tests.helpers.toys import may_fall_back, slow_case

T, B = 4, 2
XS = jax.random.normal(jax.random.key(1), (T, B, 3))
MASK = np.array([[1, 1, 0, 1], [1, 0, 1, 0]], bool).T
RESET = np.array([[0, 1, 0, 1], [0, 0, 1, 0]], bool).T
NOISY = lj.stack(
    lj.dropout(lj.bidirectional(lj.LSTM(3, 2)), 0.3),
    lj.recurrent_dropout(lj.zoneout(lj.LSTM(4, 3), h=0.2, c=0.3), 0.2),
    dropout=0.3,
)
CASES = {
    "rng": (NOISY, {"reset": RESET, "mask": MASK, "key": jax.random.key(3)}),
    "a learned state": (
        lj.stack(lj.LSTM(3, 3), lj.learned_initial_state(lj.skip(lj.SLSTM(3, 4)))),
        {"reset": RESET, "lengths": np.array([4, 2]), "padding": "hold", "return_states": True},
    ),
    "all at once": (
        lj.residual(lj.MinLSTM(3, 3)),
        {"reset": RESET, "mask": MASK, "padding": "hold", "implementation": "parallel"},
    ),
}


def mesh_of(axis_type):
    return jax.make_mesh((2,), ("batch",), (axis_type,), devices=jax.devices("cpu"))


def assert_all_close(got, wanted):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def on_one_device(cell, options):
    params = cell.init(jax.random.key(0))
    return params, quick_jit(lambda p, xs: lj.unroll(cell, p, xs, **options))(params, XS)


@pytest.mark.parametrize(
    ("name", "axis_type", "whole"),
    [
        slow_case("rng", AxisType.Explicit, True),
        ("a learned state", AxisType.Explicit, True),
        ("all at once", AxisType.Explicit, False),
        ("all at once", AxisType.Auto, True),
        slow_case("rng", AxisType.Explicit, False),
        slow_case("rng", AxisType.Auto, True),
        slow_case("rng", AxisType.Auto, False),
        slow_case("a learned state", AxisType.Explicit, False),
        slow_case("a learned state", AxisType.Auto, True),
    ],
)
def test_a_sharded_batch_is_the_batch_on_one_device(name, axis_type, whole):
    cell, options = CASES[name]
    params, wanted = on_one_device(cell, options)
    mesh = mesh_of(axis_type)
    with jax.set_mesh(mesh):
        if not whole:
            splits = {"mask": P(None, "batch"), "reset": P(None, "batch"), "lengths": P("batch")}
            options = {
                name: jax.device_put(each, NamedSharding(mesh, splits[name]))
                if name in splits
                else each
                for name, each in options.items()
            }
        split_xs = jax.device_put(XS, NamedSharding(mesh, P(None, "batch")))
        whole_params = jax.device_put(params, NamedSharding(mesh, P()))
        got = quick_jit(lambda p, xs: lj.unroll(cell, p, xs, **options))(whole_params, split_xs)
    assert_all_close(got, wanted)
    assert got[1].sharding.shard_shape(got[1].shape)[1] == 1, "it stayed split"


@pytest.mark.parametrize("name", [slow_case("a learned state"), "all at once"])
def test_gradients_of_a_sharded_batch(name):
    cell, options = CASES[name]
    options = options | {"return_states": False}

    def loss(params, xs):
        return jnp.sum(jnp.sin(lj.unroll(cell, params, xs, **options)[1]))

    params = cell.init(jax.random.key(0))
    wanted = quick_jit(jax.grad(loss))(params, XS)
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        split_xs = jax.device_put(XS, NamedSharding(mesh, P(None, "batch")))
        whole_params = jax.device_put(params, NamedSharding(mesh, P()))
        got = quick_jit(jax.grad(loss))(whole_params, split_xs)
    assert_all_close(got, wanted)


@may_fall_back
@pytest.mark.parametrize(
    "cell", [lj.bidirectional(lj.LSTM(3, 2)), CASES["all at once"][0]], ids=["bidirectional", "min"]
)
def test_masks_and_resets_inside_of_shard_map(cell):
    params, (_, wanted) = on_one_device(cell, {"reset": RESET, "mask": MASK, "padding": "hold"})

    def run(params, xs, mask, reset):
        options = {"padding": "hold", "implementation": "parallel"}
        return lj.unroll(cell, params, xs, mask=mask, reset=reset, **options)[1]

    by_row = P(None, "batch")
    with jax.set_mesh(mesh_of(AxisType.Auto)):
        mapped = jax.shard_map(run, in_specs=(P(), *[by_row] * 3), out_specs=by_row)
        got = quick_jit(mapped)(params, XS, MASK, RESET)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


def test_truncated_gradients_of_a_sharded_batch():
    cell = lj.LSTM(3, 4)
    params = cell.init(jax.random.key(0))

    def run(params, xs):
        return lj.tbptt(cell, params, xs, k1=2, k2=3, mask=MASK, padding="hold")

    wanted = quick_jit(run)(params, XS)
    for axis_type in (AxisType.Auto, AxisType.Explicit):
        mesh = mesh_of(axis_type)
        with jax.set_mesh(mesh):
            split_xs = jax.device_put(XS, NamedSharding(mesh, P(None, "batch")))
            whole_params = jax.device_put(params, NamedSharding(mesh, P()))
            assert_all_close(quick_jit(run)(whole_params, split_xs), wanted)
