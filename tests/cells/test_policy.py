"""Dtypes: which is used for what, what stays exact, and why memory is kept in float32."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj

BF16, F16, F32, F64 = (jnp.dtype(name) for name in ("bfloat16", "float16", "float32", "float64"))
POLICIES = [
    lj.Policy(BF16),
    lj.Policy(F16),
    lj.Policy(compute=BF16),
    lj.Policy(compute=BF16, output=F32),
    lj.Policy(BF16, cell_state=BF16),
    lj.Policy(F32, compute=F16, cell_state=F32, output=BF16),
]
CELLS = {
    "lstm": lambda dtype: lj.LSTM(3, 4, dtype=dtype),
    "original": lambda dtype: lj.OriginalLSTM(3, 4, dtype=dtype),
    "peephole": lambda dtype: lj.PeepholeLSTM(3, 4, dtype=dtype),
    "coupled": lambda dtype: lj.CoupledLSTM(3, 4, dtype=dtype),
    "refined": lambda dtype: lj.RefinedLSTM(3, 4, dtype=dtype),
    "layer norm": lambda dtype: lj.LayerNormLSTM(3, 4, dtype=dtype),
    "projected": lambda dtype: lj.ProjectedLSTM(3, 4, projection_size=2, dtype=dtype),
    "slstm": lambda dtype: lj.SLSTM(3, 4, dtype=dtype),
    "mlstm": lambda dtype: lj.MLSTM(3, 4, dtype=dtype),
    "minlstm": lambda dtype: lj.MinLSTM(3, 4, dtype=dtype),
    "gru": lambda dtype: lj.GRU(3, 4, dtype=dtype),
    "tanh rnn": lambda dtype: lj.TanhRNN(3, 4, dtype=dtype),
    "stack": lambda dtype: lj.zoneout(
        lj.stack(
            lj.dropout(lj.LSTM(3, 4, dtype=dtype), 0.5), lj.residual(lj.GRU(4, 4, dtype=dtype))
        ),
        h=0.1,
    ),
}


def test_what_is_not_given_follows_from_the_rest():
    named = dataclasses.astuple
    assert named(lj.Policy()) == (F32, F32, F32, F32)
    assert named(lj.Policy(BF16)) == (BF16, BF16, F32, BF16)
    assert named(lj.Policy(compute=BF16)) == (F32, BF16, F32, BF16)
    assert named(lj.Policy(F64)) == (F64, F64, F64, F64)
    assert named(lj.Policy(F32, output=BF16)) == (F32, F32, F32, BF16)


def test_a_policy_is_a_value_and_prints_all_of_itself():
    policy = lj.Policy(compute="bfloat16")
    assert policy == lj.Policy(F32, BF16, F32, BF16)
    assert hash(policy) == hash(lj.Policy(F32, BF16, F32, BF16))
    assert eval(repr(policy), {"Policy": lj.Policy}) == policy
    assert lj.LSTM(3, 4, dtype=lj.Policy(BF16)) == lj.LSTM(3, 4, dtype=BF16)
    with pytest.raises(
        TypeError, match="Policy: compute must be a floating-point dtype; got int32"
    ):
        lj.Policy(compute=jnp.int32)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_no_dtype_changes_on_the_way(make, policy):
    cell = make(policy)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {policy.param}

    def run(params, xs, key):
        final, outputs = lj.unroll(cell, params, xs, lengths=jnp.array([4, 0]), key=key, remat=2)
        return outputs.astype(F32).sum(), (final, outputs)

    xs = jax.ShapeDtypeStruct((4, 2, 3), policy.compute)
    grads, (final, outputs) = jax.eval_shape(
        jax.grad(run, has_aux=True), params, xs, jax.random.key(0)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {policy.param}
    assert outputs.dtype == policy.output
    started = jax.eval_shape(lambda: cell.initial_state((2,)))
    assert jax.tree.map(lambda a: a.dtype, final) == jax.tree.map(lambda a: a.dtype, started)
    if cell == CELLS["lstm"](policy):
        assert (final.h.dtype, final.c.dtype) == (policy.output, policy.cell_state)


def counted(cell, thousandth):
    """1 plus a thousand thousandths, as the cell's memory has it: gates open, candidate 1e-3."""
    params = lj.LSTMParams(
        jnp.zeros((1, 4), cell.policy.param),
        jnp.zeros((1, 4), cell.policy.param),
        jnp.array([100.0, 100.0, thousandth, 0.0], cell.policy.param),
    )
    state = cell.initial_state()._replace(c=jnp.ones(1, cell.policy.cell_state))
    final, _ = lj.unroll(cell, params, jnp.zeros((1000, 1), cell.policy.compute), state)
    return float(final.c[0])


def test_why_memory_is_float32_a_thousand_thousandths_added_to_one_in_bfloat16_are_nothing():
    assert counted(lj.LSTM(1, 1, dtype=BF16), 1e-3) == pytest.approx(2.0, abs=2e-3)
    all_bfloat16 = lj.Policy(BF16, cell_state=BF16)
    assert counted(lj.LSTM(1, 1, dtype=all_bfloat16), 1e-3) == 1.0


@pytest.mark.parametrize("remat", [None, "step", 32])
@pytest.mark.parametrize("dtype", [lj.Policy(F32, compute=BF16), BF16, F16])
def test_gradients_of_a_thousand_steps_add_up_in_float32(dtype, remat):
    """Every step adds 1 to the gradient of the bias; in bfloat16, 256 + 1 is 256."""

    cell = lj.TanhRNN(1, 1, dtype=dtype)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0)))
    xs = jnp.zeros((1000, 1), BF16)

    def total(params):
        return lj.unroll(cell, params, xs, remat=remat)[1].astype(F32).sum()

    assert float(jax.grad(total)(params).bias[0]) == 1000.0


@pytest.mark.usefixtures("x64")
def test_float64_is_exact():
    cell = lj.LSTM(3, 4, dtype=F64)
    params, xs = cell.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (50, 3), F64)
    _, outputs = lj.unroll(cell, params, xs)
    third = jax.tree.map(lambda leaf: leaf / 3 * 3, params)
    np.testing.assert_allclose(lj.unroll(cell, third, xs)[1], outputs, rtol=0, atol=1e-14)
    assert (
        np.abs(np.asarray(outputs - outputs.astype(F32).astype(F64))).max() > 1e-9
    )  # more than float32 has


@pytest.mark.parametrize("dtype", [F16, BF16])
def test_a_low_precision_cell_is_near_its_float32_self(dtype):
    cell, wide = lj.LSTM(8, 16, dtype=dtype), lj.LSTM(8, 16)
    params = cell.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (60, 4, 8), F32).astype(dtype)
    (_, low), (_, full) = (
        lj.unroll(
            c, jax.tree.map(lambda a, c=c: a.astype(c.policy.param), params), xs.astype(c.dtype)
        )
        for c in (cell, wide)
    )
    assert float(jnp.abs(low.astype(F32) - full).max()) < 8 * float(jnp.finfo(dtype).eps)
