"""Flax's own layers with our weights, as a reference that is independent of `convert`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn


def linen_weights(params):
    """Return the variables of `nn.OptimizedLSTMCell` for `LSTMParams`."""
    tree = {}
    for k, gate in enumerate("ifgo"):
        block = slice(k * len(params.recurrent_kernel), (k + 1) * len(params.recurrent_kernel))
        tree[f"i{gate}"] = {"kernel": params.kernel[:, block]}
        tree[f"h{gate}"] = {
            "kernel": params.recurrent_kernel[:, block],
            "bias": params.bias[block],
        }
    return tree


def linen_rnn(params, inputs, **call):
    """Apply Flax's `RNN`; initial and returned carries have the order (h, c)."""
    rnn = nn.RNN(nn.OptimizedLSTMCell(len(params.recurrent_kernel)))
    if "initial_carry" in call:
        h, c = call["initial_carry"]
        call["initial_carry"] = (c, h)
    result = rnn.apply({"params": {"cell": linen_weights(params)}}, inputs, **call)
    if call.get("return_carry"):
        (c, h), outputs = result
        return (h, c), outputs
    return result


def nnx_weights(cell, params):
    """Set the weights of an `nnx.OptimizedLSTMCell` to `LSTMParams`."""
    cell.dense_i.kernel[...] = params.kernel
    cell.dense_h.kernel[...] = params.recurrent_kernel
    cell.dense_h.bias[...] = jnp.asarray(params.bias)


def close(got, expected, tolerance=1e-6):
    """Check that the leaves of two pytrees are close, whatever their structures are."""
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance),
        jax.tree.leaves(got),
        jax.tree.leaves(expected),
    )
