"""Drawn positions: different, ascending, and every set of them equally likely."""

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np

from experiments.tasks.positions import distinct_steps


def test_every_set_of_steps_is_equally_likely():
    drawn = np.asarray(distinct_steps(jax.random.key(0), 3, jnp.full(20_000, 6)))
    counts = Counter(map(tuple, drawn.T.tolist()))
    assert counts.keys() == set(itertools.combinations(range(6), 3))
    np.testing.assert_allclose(np.array([*counts.values()]) / 20_000, 1 / 20, atol=0.006)


def test_rows_have_steps_of_their_own():
    steps = jnp.array([4, 5, 9])
    drawn = np.asarray(jax.vmap(distinct_steps, (0, None, None))(
        jax.random.split(jax.random.key(1), 3000), 4, steps
    ))  # fmt: skip
    assert drawn.shape == (3000, 4, 3)
    assert (np.diff(drawn, axis=1) > 0).all()
    assert drawn.min() == 0
    assert drawn.max(axis=(0, 1)).tolist() == [3, 4, 8]
    # Each of nine steps is among the four drawn with the probability 4/9.
    share = np.bincount(drawn[:, :, 2].ravel(), minlength=9) / 3000
    np.testing.assert_allclose(share, 4 / 9, atol=0.04)
