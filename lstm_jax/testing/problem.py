"""A cell with numbers to run it on, and what it takes to compare two ways of running it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.testing.reference import quick_jit, with_gradients
from lstm_jax.transforms.transform import initial_state
from lstm_jax.types import PRNGKey, PyTree
from lstm_jax.unroll import unroll

T, ROWS = 5, 3


class Problem:
    """A cell with numbers to run it on: all of them random, so that no term can hide."""

    def __init__(self, cell: Any, x: PyTree, key: PRNGKey) -> None:
        self.cell = cell
        k_params, k_xs, k_state = jax.random.split(key, 3)
        self.params = wide(cell.init(k_params))
        self.xs = self._drawn(k_xs, x, (T, ROWS))
        # A state that the cell can be in: random ones may not be (a normaliser below zero, say).
        before = self._drawn(k_state, x, (2, ROWS))
        initial_output = wide(initial_state(cell, self.params, (ROWS,)))
        self.state, _ = quick_jit(functools.partial(unroll, cell))(
            self.params, before, initial_output
        )
        self.tolerance = max(
            1e3 * float(jnp.finfo(leaf.dtype).eps)
            for leaf in jax.tree.leaves((self.state, self.params))
            if jnp.issubdtype(leaf.dtype, jnp.floating)
        )

    @staticmethod
    def _drawn(key: PRNGKey, x: PyTree, axes: tuple[int, ...]) -> PyTree:
        leaves, structure = jax.tree.flatten(x)
        drawn = []
        for k, leaf in zip(jax.random.split(key, len(leaves)), leaves, strict=True):
            shape = (*axes, *leaf.shape)
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                drawn.append(jax.random.normal(k, shape, jnp.float64))
            else:
                drawn.append(jnp.zeros(shape, leaf.dtype))
        return structure.unflatten(drawn)

    def unrolled(self, **options: Any) -> Callable[..., Any]:
        """`unroll` of the cell as a function of parameters, inputs and state."""
        return lambda params, xs, state: unroll(self.cell, params, xs, state, **options)

    def results(self, run: Callable[..., Any]) -> PyTree:
        """What a run gives, and the gradients of that, `weighed`."""
        return quick_jit(with_gradients(run))(self.params, self.xs, self.state)

    @staticmethod
    def dot(a: PyTree, b: PyTree) -> jax.Array:
        """The scalar product of two trees."""
        pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        return jnp.sum(jnp.stack([jnp.vdot(x, y) for x, y in pairs]))

    def same(self, what: str, got: PyTree, wanted: PyTree) -> None:
        """Raise unless two trees agree, saying what does not."""
        assert jax.tree.structure(got) == jax.tree.structure(wanted), (
            f"{self.cell}: {what} gives {jax.tree.structure(got)} in place of"
            f" {jax.tree.structure(wanted)}"
        )
        for (path, a), b in zip(
            jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(wanted), strict=True
        ):
            if a.dtype == jax.dtypes.float0:
                continue
            a, b = (np.asarray(each, np.float64) for each in (a, b))
            scale = max(1.0, float(np.max(np.abs(b), initial=0.0)))
            close = a.shape == b.shape and np.all(np.abs(a - b) <= self.tolerance * scale)
            assert close, (
                f"{self.cell}: {what} disagrees at {jax.tree_util.keystr(path)}:\n{a}\nwanted:\n{b}"
            )


def wide(tree: PyTree) -> PyTree:
    """Floating-point arrays as float64."""

    def widen(leaf: jax.Array) -> jax.Array:
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(jnp.float64) if floating else leaf

    return jax.tree.map(widen, tree)
