"""Training with our layers and with Flax's from the same weights: the same numbers."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lstm_jax.convert import flax as flax_weights
from lstm_jax.linen import GRU, LSTM
from lstm_jax.testing import quick_jit
from tests.helpers.toys import slow_case

T, B, H, UPDATES, CLIP = 12, 4, 6, 30, 0.03
CELLS = {"gru": (nn.GRUCell, GRU), "lstm": (nn.OptimizedLSTMCell, LSTM)}


class Scanned(nn.Module):
    """A cell of Flax over time, with resets, as programs in reinforcement learning write it."""

    cell: type[nn.RNNCellBase]

    @functools.partial(
        nn.scan, variable_broadcast="params", in_axes=0, out_axes=0, split_rngs={"params": False}
    )
    @nn.compact
    def __call__(self, carry, x):
        inputs, reset = x
        carry = jax.tree.map(lambda leaf: jnp.where(reset[:, None], 0 * leaf, leaf), carry)
        return self.cell(H, param_dtype=jnp.float64)(carry, inputs)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["gru", slow_case("lstm")])
def test_updates_of_clipped_adam_are_those_of_flax(name):
    theirs, ours = CELLS[name]
    k_xs, k_ys, k_reset, k_init = jax.random.split(jax.random.key(0), 4)
    xs = jax.random.normal(k_xs, (UPDATES, T, B, 3))
    ys = jax.random.normal(k_ys, (UPDATES, T, B, H))
    reset = jax.random.bernoulli(k_reset, 0.2, (UPDATES, T, B))
    zeros = jnp.zeros((B, H))
    carry = zeros if name == "gru" else (zeros, zeros)
    old = Scanned(theirs).init(k_init, carry, (xs[0], reset[0]))
    new = flax_weights.take_over(old, rename={f"{theirs.__name__}_0": ""})
    layer = ours(H, time_major=True, carry_order="ch")  # as in Flax

    def scanned(params, xs, reset):
        return Scanned(theirs).apply(params, carry, (xs, reset))[1]

    def unrolled(params, xs, reset):
        return layer.apply(params, xs, initial_carry=carry, reset=reset)

    def train(apply, params):
        optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(0.05))

        def update(learner, batch):
            params, moments = learner
            *inputs, ys = batch
            value, grads = jax.value_and_grad(
                lambda params: jnp.mean((apply(params, *inputs) - ys) ** 2)
            )(params)
            changes, moments = optimizer.update(grads, moments)
            return (optax.apply_updates(params, changes), moments), (value, grads)

        start = params, optimizer.init(params)
        (params, moments), steps = jax.lax.scan(update, start, (xs, reset, ys))
        return params, moments, steps

    with jax.numpy_dtype_promotion("standard"):  # as Optax needs
        *trained, (values, grads) = quick_jit(functools.partial(train, scanned))(old)
        *retrained, (new_values, new_grads) = quick_jit(functools.partial(train, unrolled))(new)
        assert optax.tree.norm(jax.tree.map(lambda leaf: leaf[0], grads)) > CLIP
    np.testing.assert_allclose(new_values, values, rtol=1e-10)
    rename = {f"{theirs.__name__}_0": ""}
    for before, after in zip((*trained, grads), (*retrained, new_grads), strict=True):
        before = flax_weights.take_over(before, rename=rename)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-10), after, before
        )
