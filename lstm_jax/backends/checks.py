"""What a loop takes, checked and made fit: inputs, and a state split over devices as they are."""

from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.backends.body import Apply
from lstm_jax.sharding import match_sharding
from lstm_jax.transforms.step_rng import StepRng
from lstm_jax.transforms.transform import output_of
from lstm_jax.types import PyTree


def first_input(function: str, xs: PyTree) -> PyTree:
    """Types of one time step of `xs`: shape, dtype, and how it is split over devices."""
    leaves = jax.tree.leaves(xs)
    if not leaves:
        raise ValueError(f"{function}: xs must hold at least one array [T, ...]; got {xs!r}")
    shapes = [jnp.shape(leaf) for leaf in leaves]
    if any(len(shape) == 0 for shape in shapes):
        raise ValueError(f"{function}: xs must have time as axis 0, [T, ...]; got shapes {shapes}")
    if len({shape[0] for shape in shapes}) > 1:
        raise ValueError(f"{function}: the arrays in xs differ in length T; got shapes {shapes}")
    if shapes[0][0] == 0:
        # There is no step to take the types from; nothing runs that could be split.
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], jnp.result_type(leaf)), xs
        )
    return jax.eval_shape(lambda xs: jax.tree.map(lambda leaf: leaf[0], xs), xs)


def as_carry(
    function: str, step: Apply, params: PyTree, state: PyTree, x_1: PyTree, rng: StepRng | None
) -> PyTree:
    """The given state in the structure that the step returns, so that it can be a scan's carry."""
    state = jax.tree.map(jnp.asarray, state)
    new, _ = jax.eval_shape(step, params, state, x_1, rng)
    old_leaves, new_leaves = jax.tree.leaves(state), jax.tree.leaves(new)
    if len(old_leaves) != len(new_leaves):
        raise TypeError(
            f"{function}: the step must return a state like the one it was given,"
            f" with {len(old_leaves)} arrays; got {len(new_leaves)}"
        )
    for old, after in zip(old_leaves, new_leaves, strict=True):
        if old.shape != after.shape:
            raise ValueError(
                f"{function}: state must have the batch axes of xs; a state of shape {old.shape}"
                f" came out of the step with shape {after.shape}"
            )
        if old.dtype != after.dtype:
            raise TypeError(
                f"{function}: the step must keep the dtypes of the state; {old.dtype} became"
                f" {after.dtype}"
            )
    leaves = map(match_sharding, old_leaves, new_leaves)
    return jax.tree.unflatten(jax.tree.structure(new), leaves)


def initial_output(cell: Any, state: PyTree, x_1: PyTree, like: PyTree) -> PyTree:
    """What is shown before the first step that is there, where padding holds what was shown.

    Args:
      cell: any cell.
      state: state before the first step.
      x_1: types of an input.
      like: types of what is shown.

    Returns:
      What is shown of the state, split over devices as `like`.
    """
    shown = output_of(cell, state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), x_1))
    return jax.tree.map(lambda y, of: match_sharding(jnp.asarray(y, of.dtype), of), shown, like)


def check_rows(function: str, rows: tuple[int, ...], **trees: PyTree) -> None:
    """Raise unless every array starts with the batch axes that masks and resets have."""
    for name, tree in trees.items():
        for leaf in jax.tree.leaves(tree):
            if leaf.shape[: len(rows)] != rows:
                raise ValueError(
                    f"{function}: the arrays in {name} must have the batch axes {rows} of lengths,"
                    f" mask and reset; got {leaf.shape}"
                )
