"""Export for serving: a trained layer in a process that has no lstm_jax."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

import lstm_jax as lj
from lstm_jax import linen
from lstm_jax.nnx import LSTM
from tests.helpers.toys import slow_case

SERVE = """
import sys
sys.modules["lstm_jax"] = None  # as if it were not installed
import jax, numpy as np
from jax import export
file, given, taken = sys.argv[1:]
served = export.deserialize(bytearray(open(file, "rb").read()))
inputs = np.load(given)
np.savez(taken, **{name: np.asarray(served.call(inputs[name])) for name in inputs})
assert not any(name.startswith("lstm_jax.") for name in sys.modules)
"""


def linen_layer():
    layer = linen.LSTM(5, num_layers=2, bidirectional=True)
    variables = layer.init(jax.random.key(0), jnp.ones((1, 1, 3)))
    return lambda inputs: layer.apply(variables, inputs)


def nnx_layer():
    layer = LSTM(3, 5, num_layers=2, rngs=nnx.Rngs(0))
    return lambda inputs: layer(inputs)


def remat_layer():
    layer = LSTM(3, 5, remat=4, rngs=nnx.Rngs(0))
    return lambda inputs: layer(inputs)


@pytest.mark.parametrize("make", [linen_layer, slow_case(nnx_layer), slow_case(remat_layer)])
def test_any_batch_and_any_time(make, tmp_path):
    run = make()
    b, t = export.symbolic_shape("b, t")
    exported = export.export(jax.jit(run))(jax.ShapeDtypeStruct((b, t, 3), jnp.float32))
    (tmp_path / "layer").write_bytes(exported.serialize())
    rng = np.random.default_rng(0)
    inputs = {
        f"{b}x{t}": rng.standard_normal((b, t, 3), np.float32) for b, t in [(1, 1), (2, 7), (5, 3)]
    }
    np.savez(tmp_path / "given.npz", **inputs)
    arguments = [str(tmp_path / name) for name in ("layer", "given.npz", "taken.npz")]
    subprocess.run([sys.executable, "-c", SERVE, *arguments], check=True, timeout=120)
    taken = np.load(tmp_path / "taken.npz")
    for name, given in inputs.items():
        np.testing.assert_allclose(taken[name], run(given), rtol=1e-6, atol=1e-6)


def test_known_sizes_are_served_without_native_kernels():
    run = linen_layer()
    exported = export.export(jax.jit(run))(jax.ShapeDtypeStruct((2, 7, 3), jnp.float32))
    assert "custom_call" not in str(exported.mlir_module())


def test_a_stream_is_served_with_plain_tuples():
    cell = lj.LSTM(3, 5)
    params = cell.init(jax.random.key(0))

    def step(h, c, x):
        return tuple(lj.lstm_step(params, (h, c), x))

    b = export.symbolic_shape("b")[0]
    state = jax.ShapeDtypeStruct((b, 5), jnp.float32)
    exported = export.export(jax.jit(step))(state, state, jax.ShapeDtypeStruct((b, 3), jnp.float32))
    served = export.deserialize(exported.serialize())
    xs = jax.random.normal(jax.random.key(1), (7, 2, 3))
    h = c = jnp.zeros((2, 5))
    for x in xs:
        h, c = served.call(h, c, x)
    final, _ = lj.unroll(cell, params, xs)
    np.testing.assert_allclose(h, final.h, rtol=1e-6, atol=1e-6)


def test_a_served_gradient():
    cell = lj.LSTM(3, 5)
    b, t = export.symbolic_shape("b, t")

    def loss(kernel, recurrent_kernel, bias, xs):
        params = lj.LSTMParams(kernel, recurrent_kernel, bias)
        return jnp.sum(lj.unroll(cell, params, xs)[1] ** 2)

    params = cell.init(jax.random.key(0))
    grads = jax.grad(loss, (0, 1, 2))
    exported = export.export(jax.jit(grads))(*params, jax.ShapeDtypeStruct((t, b, 3), jnp.float32))
    xs = jax.random.normal(jax.random.key(1), (7, 2, 3))
    for got, wanted in zip(exported.call(*params, xs), grads(*params, xs), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
