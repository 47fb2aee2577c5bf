"""A cell with random parameters, inputs and a state, to compare two ways of computing."""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.testing.reference import quick_jit, with_gradients
from lstm_jax.transforms.transform import initial_state
from lstm_jax.types import PRNGKey, PyTree
from lstm_jax.unroll import unroll

T, ROWS = 5, 3


class Comparison:
    """Random parameters, inputs ``[T, ROWS, ...]`` and a state of a cell, and how to compare.

    All numbers are random, so that no term of an equation is hidden by a zero.

    Args:
      cell: any cell.
      x: shapes and dtypes of one input.
      key: typed random key.
    """

    def __init__(self, cell: Any, x: PyTree, key: PRNGKey) -> None:
        self.cell = cell
        k_params, k_xs, k_state = jax.random.split(key, 3)
        self.params = in_float64(cell.init(k_params))
        self.xs = self._random_inputs(k_xs, x, (T, ROWS))
        # A state that the cell can reach: random numbers may be none (a normaliser below zero).
        before = self._random_inputs(k_state, x, (2, ROWS))
        first = in_float64(initial_state(cell, self.params, (ROWS,)))
        self.state, _ = quick_jit(functools.partial(unroll, cell))(self.params, before, first)
        self.tolerance = max(
            1e3 * float(jnp.finfo(leaf.dtype).eps)
            for leaf in jax.tree.leaves((self.state, self.params))
            if jnp.issubdtype(leaf.dtype, jnp.floating)
        )

    @staticmethod
    def _random_inputs(key: PRNGKey, x: PyTree, axes: tuple[int, ...]) -> PyTree:
        leaves, structure = jax.tree.flatten(x)
        inputs = []
        for k, leaf in zip(jax.random.split(key, len(leaves)), leaves, strict=True):
            shape = (*axes, *leaf.shape)
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                inputs.append(jax.random.normal(k, shape, jnp.float64))
            else:
                inputs.append(jnp.zeros(shape, leaf.dtype))
        return structure.unflatten(inputs)

    def unroll_with(self, **options: Any) -> Callable[..., Any]:
        """`unroll` of the cell as a function of parameters, inputs and state."""
        return lambda params, xs, state: unroll(self.cell, params, xs, state, **options)

    def evaluate(self, function: Callable[..., Any]) -> PyTree:
        """The result of a function of parameters, inputs and state, and its gradients."""
        return quick_jit(with_gradients(function))(self.params, self.xs, self.state)

    def assert_close(self, what: str, actual: PyTree, expected: PyTree) -> None:
        """Raise unless two trees of numbers agree.

        Args:
          what: what is compared, for the error.
          actual: a tree of arrays.
          expected: the tree of arrays that it should be.

        Raises:
          AssertionError: with the cell, `what`, the path, and both arrays.
        """
        chex.assert_trees_all_equal_structs(
            actual, expected, custom_message=f"{self.cell}: {what} returns another structure"
        )
        leaves = zip(
            jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected), strict=True
        )
        for (path, a), b in leaves:
            if a.dtype == jax.dtypes.float0:
                continue
            a, b = (np.asarray(each, np.float64) for each in (a, b))
            where = jax.tree_util.keystr(path)
            message = f"{self.cell}: {what} disagrees at {where}"
            numbers = f"{message}:\n{a}\nexpected:\n{b}"
            chex.assert_trees_all_equal_shapes(a, b, custom_message=numbers)
            chex.assert_tree_all_finite(a, custom_message=numbers)
            scale = max(1.0, float(np.max(np.abs(b), initial=0.0)))
            chex.assert_trees_all_close(
                a, b, rtol=0, atol=self.tolerance * scale, custom_message=message
            )


def dot(a: PyTree, b: PyTree) -> jax.Array:
    """The scalar product of two trees."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return jnp.sum(jnp.stack([jnp.vdot(x, y) for x, y in pairs]))


def in_float64(tree: PyTree) -> PyTree:
    """A tree with its floating-point arrays in float64."""

    def cast(leaf: jax.Array) -> jax.Array:
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(jnp.float64) if floating else leaf

    return jax.tree.map(cast, tree)
