"""The activations of Keras 3 by name, as functions of JAX."""

import jax
import jax.numpy as jnp

from lstm_jax.cells.cell import Activation, identity


def exact_gelu(x: jax.Array) -> jax.Array:
    """``x P(X <= x)`` with a standard normal X, without the approximation by tanh.

    >>> float(exact_gelu(jnp.float32(0)))
    0.0
    """
    return jax.nn.gelu(x, approximate=False)


def leaky_relu(x: jax.Array) -> jax.Array:
    """``max(x, 0.2 x)``, with the slope of Keras.

    >>> float(leaky_relu(jnp.float32(-5)))
    -1.0
    """
    return jax.nn.leaky_relu(x, 0.2)


def tanh_shrink(x: jax.Array) -> jax.Array:
    """``x - tanh(x)``.

    >>> float(tanh_shrink(jnp.float32(0)))
    0.0
    """
    return x - jnp.tanh(x)


ACTIVATIONS: dict[str, Activation] = {
    "celu": jax.nn.celu,
    "elu": jax.nn.elu,
    "exponential": jnp.exp,
    "gelu": exact_gelu,
    "hard_sigmoid": jax.nn.hard_sigmoid,  # of Keras 3: relu6(x + 3) / 6, as in JAX
    "hard_silu": jax.nn.hard_silu,
    "hard_swish": jax.nn.hard_silu,
    "hard_tanh": jax.nn.hard_tanh,
    "leaky_relu": leaky_relu,
    "linear": identity,
    "log_sigmoid": jax.nn.log_sigmoid,
    "mish": jax.nn.mish,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "selu": jax.nn.selu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "sparse_plus": jax.nn.sparse_plus,
    "squareplus": jax.nn.squareplus,
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
    "tanh_shrink": tanh_shrink,
}
"""Functions that are the activations of Keras with these names."""
