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


def weights_from_linen(name, theirs):
    """Our parameters, as a dict, for those of a cell of `flax.linen` by its name."""

    def joined(gates, leaf, axis=-1):
        return jnp.concatenate([theirs[gate][leaf] for gate in gates], axis)

    if name == "ConvLSTMCell":  # i, g, f, o; 1 is added to the forget gate in the step
        order = [0, 2, 1, 3]
        parts = {
            f"{k}/{leaf}": jnp.split(a, 4, -1) for k, d in theirs.items() for leaf, a in d.items()
        }
        ours = {
            leaf: jnp.concatenate([blocks[k] for k in order], -1) for leaf, blocks in parts.items()
        }
        bias = ours["ih/bias"] + ours["hh/bias"]
        one = jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), len(bias) // 4)
        return {
            "kernel": ours["ih/kernel"],
            "recurrent_kernel": ours["hh/kernel"],
            "bias": bias + one,
        }
    if name == "SimpleCell":
        return {
            "kernel": theirs["i"]["kernel"],
            "recurrent_kernel": theirs["h"]["kernel"],
            "bias": theirs["i"]["bias"],
        }
    gates, biased = ("rzn", "i") if name == "GRUCell" else ("ifgo", "h")
    inputs, hidden = ([f"{side}{gate}" for gate in gates] for side in "ih")
    ours = {
        "kernel": joined(inputs, "kernel"),
        "recurrent_kernel": joined(hidden, "kernel"),
        "bias": joined(inputs if biased == "i" else hidden, "bias"),
    }
    if name == "GRUCell":
        ours["recurrent_bias"] = theirs["hn"]["bias"]
    return ours


def weights_from_nnx(name, cell):
    """Our parameters, as a dict, for those of a cell of `flax.nnx` by its name."""
    if name == "LSTMCell":
        linears = {
            f"{side}{gate}": getattr(cell, f"{side}{gate}".replace("if", "if_"))
            for side in "ih"
            for gate in "ifgo"
        }
        tree = {k: {"kernel": d.kernel[...]} for k, d in linears.items()}
        for gate in "ifgo":
            tree[f"h{gate}"]["bias"] = linears[f"h{gate}"].bias[...]
        return weights_from_linen(name, tree)
    biased = cell.dense_h if name == "OptimizedLSTMCell" else cell.dense_i
    ours = {
        "kernel": cell.dense_i.kernel[...],
        "recurrent_kernel": cell.dense_h.kernel[...],
        "bias": biased.bias[...],
    }
    if name == "GRUCell":  # it has no such bias
        ours["recurrent_bias"] = jnp.zeros(cell.hidden_features)
    return ours


def randomized(tree, seed=0):
    """Random numbers in the shapes of a tree, so that no bias of zero hides a mistake."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return structure.unflatten(
        [jax.random.normal(k, leaf.shape) / 2 for k, leaf in zip(keys, leaves, strict=True)]
    )


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
