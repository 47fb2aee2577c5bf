"""NaN and infinity in the native backend: in padding, at masked steps, and in inputs."""

import jax
import jax.numpy as jnp
import numpy as np

import lstm_jax as lj
from tests.helpers.against_scan import B, Numbers, T, draw, flags, needs_native, results

pytestmark = needs_native


def test_nan_in_padding_changes_nothing():
    cell = lj.LSTM(3, 17)
    params, xs, state = draw(cell)
    mask = flags((T, B), 0.6)
    spoilt = jnp.where(jnp.asarray(mask)[..., None], xs, jnp.nan)
    options = {"mask": mask, "implementation": "cpu"}
    wanted = results(cell, Numbers(params, xs, state), **options)
    got = results(cell, Numbers(params, spoilt, state), **options)
    assert jax.tree.all(jax.tree.map(np.array_equal, got, wanted))
    assert np.any(got[1][1][mask])
    assert not np.any(got[1][1][~mask])


def test_nothing_saved_at_masked_steps_is_nan():
    cell = lj.LSTM(3, 17)
    params, xs, state = draw(cell)
    mask = flags((T, B), 0.6)
    with jax.debug_nans(True):
        for _ in range(5):
            used = [np.full((T, B, 4 * 17), np.nan, np.float32) for _ in range(20)]
            del used  # the next results may be allocated in this memory
            jax.grad(
                lambda p: lj.unroll(cell, p, xs, state, mask=mask, implementation="cpu")[1].sum()
            )(params)


def test_nan_and_infinity_in_inputs_agree_with_the_scan():
    cell = lj.LSTM(3, 17)
    params, xs, state = draw(cell)
    xs = xs.at[3, 0, 1].set(jnp.inf).at[4, 1, 2].set(-jnp.inf).at[5, 2, 0].set(jnp.nan)
    got, wanted = (
        lj.unroll(cell, params, xs, state, implementation=name) for name in ("cpu", "scan")
    )
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    assert np.isnan(got[1]).any()
    assert np.isfinite(got[1][:, 3]).all()
