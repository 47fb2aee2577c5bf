"""Random cells, transforms, lengths, masks, resets, chunks and dtypes.

Outputs, final states, and the gradients of parameters, inputs and state are tested against one
reference, a Python loop over single steps in float64.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import lstm_jax as lj
from lstm_jax.testing import quick_jit, with_gradients
from tests.helpers import drawn
from tests.helpers.toys import may_fall_back

pytestmark = may_fall_back

# Layer norm of a single unit divides by sqrt(1e-5), which makes rounding errors 316 times larger.
LOOSE = 400


def fast(case, params, xs, state):
    ragged = {"lengths": case.lengths} if case.lengths is not None else {"mask": case.mask}
    return lj.unroll(
        case.cell, params, xs, state, **ragged, reset=case.reset, key=case.key, **case.options
    )


def with_nan(case, xs):
    """Inputs with NaN at masked steps."""
    if case.mask is None:
        return xs
    here = jnp.asarray(case.mask)[..., None]
    return jnp.where(here, xs, jnp.asarray(jnp.nan, xs.dtype))


def assert_agree(case, got, wanted, tolerance):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(wanted), strict=True
    ):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert a.shape == b.shape
        scale = max(1.0, np.max(np.abs(b), initial=0.0))
        error = np.max(np.abs(a - b), initial=0.0) / scale
        assert error <= tolerance, f"{jax.tree_util.keystr(path)}: {error} in {case}"


def assert_agrees_with_the_loop(case):
    with jax.enable_x64(True):
        params, xs, state = drawn.numbers(case)
        function = quick_jit(with_gradients(lambda *arguments: fast(case, *arguments)))
        got = function(params, with_nan(case, xs), state)
        wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, xs, state))
        wanted = with_gradients(lambda *arguments: drawn.slow(case, *arguments))(*wide)
        eps = float(jnp.finfo(case.dtype).eps)
        assert_agree(case, got, wanted, 1e4 * eps if case.dtype == jnp.float64 else LOOSE * eps)
        if case.mask is not None:
            assert not np.any(np.asarray(got[1][1])[~case.mask]), "the gradient of padding is zero"


@settings(max_examples=8)
@given(case=drawn.cases())
@pytest.mark.slow
def test_unroll_equals_a_loop_over_single_steps(case):
    assert_agrees_with_the_loop(case)


@settings(max_examples=4)
@given(case=drawn.cases(dtypes=(jnp.float32, jnp.bfloat16, jnp.float16)))
@pytest.mark.slow
def test_unroll_equals_a_loop_in_lower_precision(case):
    assert_agrees_with_the_loop(case)


@pytest.mark.slow
@settings(max_examples=30)
@given(case=drawn.cases())
def test_unroll_equals_a_loop_over_single_steps_in_many_cases(case):
    assert_agrees_with_the_loop(case)


@pytest.mark.slow
@settings(max_examples=20)
@given(case=drawn.cases(dtypes=(jnp.float32, jnp.bfloat16, jnp.float16)))
def test_unroll_equals_a_loop_in_lower_precision_in_many_cases(case):
    assert_agrees_with_the_loop(case)
