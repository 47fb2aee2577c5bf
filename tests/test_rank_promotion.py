"""Every broadcast around a cell is explicit: `jax_numpy_rank_promotion="raise"` changes nothing."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.layers.unroll_layer import unroll_layer

XS = jax.ShapeDtypeStruct((4, 2, 3), jnp.float32)
LENGTHS, RESET = np.array([4, 2]), np.random.default_rng(0).random((4, 2)) < 0.5


@dataclass(frozen=True)
class Linear:
    """``h_t = a h_{t-1} + x_t``, with nothing to broadcast in the cell itself."""

    input_size: int = 3

    def init(self, key):
        return jnp.asarray(0.5)

    def initial_state(self, batch_shape=()):
        return (jnp.zeros((*batch_shape, self.input_size)),)

    def step(self, params, state, x):
        return (params * state[0] + x,)

    def coefficients(self, params, x):
        return jnp.full(x.shape, params), x


@pytest.fixture(autouse=True)
def no_rank_promotion():
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        (Linear(), {"lengths": LENGTHS}),
        (Linear(), {"lengths": LENGTHS, "padding": "hold", "remat": "step"}),
        (Linear(), {"mask": RESET.astype(float), "padding": "raw", "reverse": True}),
        (Linear(), {"lengths": LENGTHS, "remat": 3, "return_states": True}),
        (Linear(), {"lengths": LENGTHS, "implementation": "parallel", "padding": "raw"}),
        (Linear(), {"mask": RESET, "implementation": "parallel", "padding": "hold"}),
        (lj.bidirectional(Linear()), {"lengths": LENGTHS, "padding": "hold"}),
        (lj.LSTM(3, 5), {"lengths": LENGTHS, "padding": "hold"}),  # the native backend
        (lj.LSTM(3, 5), {"lengths": LENGTHS, "remat": 2}),
    ],
)
def test_unroll_and_its_gradient(cell, options):
    if isinstance(cell, lj.LSTM) and lj.explain(cell, XS, **options).implementations != ("cpu",):
        pytest.skip("the native backend is not available")
    params = cell.init(jax.random.key(0))

    def loss(params, xs):
        results = lj.unroll(cell, params, xs, reset=RESET, **options)
        return sum(leaf.sum() for leaf in jax.tree.leaves(results))

    jax.eval_shape(jax.grad(loss, (0, 1)), params, XS)


def test_what_is_built_on_unroll():
    cell, given = Linear(), {"seq_lengths": LENGTHS, "reverse": True}

    def run(a, xs):
        lj.tbptt(cell, a, xs, k1=2, k2=3, lengths=LENGTHS, padding="hold")
        lj.diagnostics.gradient_flow(cell, a, xs, jnp.sum)
        unroll_layer("Recurrent", cell, a, jnp.swapaxes(xs, 0, 1), **given)

    jax.eval_shape(run, jax.ShapeDtypeStruct((), jnp.float32), XS)
    assert lj.resets_from_dones(RESET, RESET[0]).shape == (4, 2)
    assert lj.mask_of_lengths(LENGTHS[None], 4).shape == (4, 1, 2)
