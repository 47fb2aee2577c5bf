"""Flax's own layers with the weights of ours, to compare with; written apart from `convert`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn


def linen_weights(params):
    """The variables of `nn.OptimizedLSTMCell` that make it compute what `LSTMParams` do."""
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
    """What Flax's `RNN` gives, the carry in the order (h, c) where it is asked for."""
    rnn = nn.RNN(nn.OptimizedLSTMCell(len(params.recurrent_kernel)))
    if "initial_carry" in call:
        h, c = call["initial_carry"]
        call["initial_carry"] = (c, h)
    shown = rnn.apply({"params": {"cell": linen_weights(params)}}, inputs, **call)
    if call.get("return_carry"):
        (c, h), outputs = shown
        return (h, c), outputs
    return shown


def nnx_weights(cell, params):
    """Put `LSTMParams` into an `nnx.OptimizedLSTMCell`."""
    cell.dense_i.kernel[...] = params.kernel
    cell.dense_h.kernel[...] = params.recurrent_kernel
    cell.dense_h.bias[...] = jnp.asarray(params.bias)


def close(got, wanted, tolerance=1e-6):
    """The same numbers, whatever they are in."""
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance),
        jax.tree.leaves(got),
        jax.tree.leaves(wanted),
    )
