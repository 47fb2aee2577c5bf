import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import Policy
from lstm_jax.cells.gru import GRU, GRUParams, GRUState
from tests.helpers import reference
from tests.helpers.cells import CASES, draw, error
from tests.helpers.reference import sigmoid


def equations(params, state, x):
    (W, R, b, b_rn), (h,) = params, state
    H = h.shape[-1]
    r = sigmoid(x @ W[:, :H] + h @ R[:, :H] + b[:H])
    z = sigmoid(x @ W[:, H : 2 * H] + h @ R[:, H : 2 * H] + b[H : 2 * H])
    R_n = R[:, 2 * H :]
    recurrent = (r * h) @ R_n if b_rn is None else r * (h @ R_n + b_rn)
    n = np.tanh(x @ W[:, 2 * H :] + recurrent + b[2 * H :])
    return (z * h + (1 - z) * n,), (r, z, n)


RESET_AFTER = pytest.mark.parametrize("reset_after", [True, False])


@pytest.mark.usefixtures("x64")
@RESET_AFTER
@CASES
def test_is_the_equations_in_float64(n, m, batch, reset_after):
    assert error(GRU(n, m, reset_after=reset_after), equations, batch) < 1e-12


@RESET_AFTER
def test_is_the_equations_in_float32(reset_after):
    cell = GRU(40, 64, reset_after=reset_after)
    assert error(cell, equations, (4,), jnp.float32) < 1e-6


@pytest.mark.usefixtures("x64")
def test_gate_order_is_r_z_n():
    # With h = 1 and a recurrent bias of log 2: n = tanh(n' + r log 2), h' = (1 - z) n + z.
    r, z, n = np.log(3.0), np.log(1 / 4), 0.1
    expected = 4 / 5 * np.tanh(0.1 + 3 / 4 * np.log(2.0)) + 1 / 5
    for bias in itertools.permutations([r, z, n]):
        zeros, log2 = jnp.zeros((1, 3)), jnp.log(jnp.array([2.0]))
        params = GRUParams(zeros, zeros, jnp.array(bias), log2)
        (new,) = GRU(1, 1).step(params, (jnp.ones(1),), jnp.zeros(1))
        assert np.allclose(new, expected, rtol=0, atol=1e-12) == (bias == (r, z, n)), bias


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("batch", [(), (4,)])
def test_agrees_with_flax_linen(batch):
    params, state, x = draw(GRU(3, 5), batch)
    kernels, recurrents, biases = (jnp.split(leaf, 3, axis=-1) for leaf in params[:3])
    flax_params = {}
    for gate, kernel, recurrent, bias in zip("rzn", kernels, recurrents, biases, strict=True):
        flax_params[f"i{gate}"] = {"kernel": kernel, "bias": bias}
        flax_params[f"h{gate}"] = {"kernel": recurrent}
    flax_params["hn"]["bias"] = params.recurrent_bias
    module = nn.GRUCell(features=5, param_dtype=jnp.float64)
    h, _ = module.apply({"params": flax_params}, state.h, x)
    assert reference.relative_error(GRU(3, 5).step(params, state, x).h, h) < 1e-12


@RESET_AFTER
def test_starts_orthogonal_with_no_bias(reset_after):
    params = GRU(3, 5, reset_after=reset_after).init(jax.random.key(0))
    shape = (5,) if reset_after else None
    assert jax.tree.map(jnp.shape, params) == GRUParams((3, 15), (5, 15), (15,), shape)
    for block in jnp.split(params.recurrent_kernel, 3, axis=1):
        np.testing.assert_allclose(block.T @ block, jnp.eye(5), atol=1e-5)
    assert not params.bias.any()
    assert params.recurrent_bias is None or not params.recurrent_bias.any()


def test_bfloat16_is_rounded_once_on_its_way_out():
    cell = GRU(40, 64, dtype=jnp.bfloat16)
    params, state, x = draw(cell, (4,), jnp.bfloat16)
    (expected,), _ = equations(*jax.tree.map(reference.wide, (params, state, x)))
    new = cell.step(params, state, x)
    assert new.h.dtype == jnp.bfloat16
    assert reference.relative_error(new.h, expected) < 2**-8


def test_a_float32_state_keeps_counting_where_bfloat16_stalls():
    # z is so near one that a step moves h by a thousandth of the way to n = 1.
    bias = jnp.array([0.0, 7.0, 100.0])
    params = GRUParams(jnp.zeros((1, 3)), jnp.zeros((1, 3)), bias, jnp.zeros(1))

    def after_many_steps(output):
        cell = GRU(1, 1, dtype=Policy(compute=jnp.bfloat16, output=output))
        return jax.lax.fori_loop(
            0, 3000, lambda _, s: cell.step(params, s, jnp.zeros(1)), cell.initial_state()
        ).h.item()

    z = 1 / (1 + np.exp(-7.0))
    assert after_many_steps(jnp.float32) == pytest.approx(1 - z**3000, rel=1e-3)
    assert after_many_steps(jnp.bfloat16) < 0.5


@pytest.mark.parametrize(
    ("reset_after", "bias", "message"),
    [
        (True, None, r"must have shape \[H\] with H = 5, reset_after = True; got None"),
        (True, jnp.zeros(15), r"must have shape \[H\] with .*; got \(15,\)"),
        (False, jnp.zeros(5), r"must be None with H = 5, reset_after = False; got \(5,\)"),
    ],
)
def test_parameters_of_the_other_form_are_named(reset_after, bias, message):
    cell = GRU(3, 5, reset_after=reset_after)
    params = cell.init(jax.random.key(0))._replace(recurrent_bias=bias)
    with pytest.raises(ValueError, match=rf"^GRU\.step: params.recurrent_bias {message}"):
        cell.step(params, cell.initial_state(), jnp.zeros(3))


@pytest.mark.parametrize("state", [None, (jnp.zeros(5), jnp.zeros(5))])
def test_a_state_that_is_no_tuple_of_one_is_named(state):
    cell = GRU(3, 5)
    with pytest.raises(TypeError, match=r"^GRU\.step: state must be a tuple \(h,\); got"):
        cell.step(cell.init(jax.random.key(0)), state, jnp.zeros(3))
    assert isinstance(cell.initial_state(), GRUState)
