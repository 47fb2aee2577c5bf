"""Checks of the inputs of a sequence: their type, their time axis and their batch axes."""

from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.arrays import check_arrays, described
from lstm_jax.cells import lstm_step
from lstm_jax.cells.cell import CellBase
from lstm_jax.transforms.sizes import input_size
from lstm_jax.transforms.step_function import StepFunction
from lstm_jax.transforms.transform import Transform
from lstm_jax.types import PyTree


def checked_inputs(function: str, cell: Any, xs: PyTree, *, name: str = "xs") -> PyTree:
    """Inputs of arrays of JAX or NumPy: one array for a cell that reads one.

    A list of T arrays would be a tree whose arrays have the batch as their time axis.

    Args:
      function: the public function to name in errors.
      cell: any cell, or a bare step function.
      xs: the inputs.
      name: the name of the argument, for errors.

    Returns:
      The inputs, with arrays of NumPy in the byte order of the machine.

    Raises:
      TypeError: when they are several arrays and the cell reads one, or no arrays.

    >>> import lstm_jax as lj
    >>> checked_inputs("unroll", lj.LSTM(3, 5), [jnp.ones((2, 3))] * 7)
    Traceback (most recent call last):
    TypeError: unroll: xs must be one array [T, ..., I] for LSTM; got a list of 7; use jnp.stack
    """
    if isinstance(xs, list | tuple | dict) and reads_one_array(cell):
        hint = ""
        if isinstance(xs, list | tuple) and len(xs):
            hint = f"; use jnp.{'stack' if hasattr(xs[0], 'shape') else 'asarray'}"
        cell = cell.function if isinstance(cell, StepFunction) else cell
        kind = getattr(cell, "__name__", type(cell).__name__)
        axes = " [T, ..., I]" if name == "xs" else ""
        raise TypeError(
            f"{function}: {name} must be one array{axes} for {kind}; got {described(xs)}{hint}"
        )
    tree: dict[str, Any] = {name: xs}
    return check_arrays(function, **tree)


def reads_one_array(cell: Any) -> bool:
    """Whether a cell, or a step function, is known to read one array and no tree of arrays.

    >>> from lstm_jax import LSTM
    >>> reads_one_array(LSTM(3, 5)), reads_one_array(StepFunction(lambda params, state, x: state))
    (True, False)
    """
    if isinstance(cell, StepFunction):
        cell = cell.function
    if cell is lstm_step:
        return True
    owner = getattr(cell, "__self__", None)  # of a method, such as `LSTM(3, 5).step`
    if owner is not None:
        return reads_one_array(owner)
    if isinstance(cell, Transform):
        children = cell.children()
        return bool(children) and reads_one_array(children[0])
    return isinstance(cell, CellBase) or input_size(cell) is not None


def first_input(function: str, xs: PyTree) -> PyTree:
    """Shapes and dtypes of one time step of `xs`, after a check of its time axis.

    >>> first_input("unroll", jnp.ones((7, 2, 3))).shape
    (2, 3)
    """
    leaves, structure = jax.tree.flatten(xs)
    if not leaves:
        raise ValueError(
            f"{function}: xs must contain at least one array [T, ...]; got {described(xs)}"
        )
    shapes = list(map(jnp.shape, leaves))
    if () in shapes:
        hint = "; use jnp.asarray for a list" if isinstance(xs, list) else ""
        raise ValueError(
            f"{function}: xs must have time as axis 0, [T, ...]; got shapes {shapes[:4]}{hint}"
        )
    if len({shape[0] for shape in shapes}) > 1:
        others = ", ..." if len(shapes) > 4 else ""
        shown = ", ".join(map(str, shapes[:4]))
        raise ValueError(
            f"{function}: the arrays in xs differ in length T; got shapes [{shown}{others}]"
        )
    dtypes = map(jnp.result_type, leaves)
    return jax.tree.unflatten(
        structure, [jax.ShapeDtypeStruct(s[1:], d) for s, d in zip(shapes, dtypes, strict=True)]
    )


def check_rows(function: str, mask: jax.Array | None, **trees: PyTree) -> None:
    """Raise unless all arrays start with the batch axes of a mask ``[T, ...]``.

    >>> check_rows("unroll", jnp.ones((7, 2), bool), xs=jnp.ones((3, 4)))
    Traceback (most recent call last):
    ValueError: unroll: the arrays in xs must have the batch axes (2,) of lengths, mask and reset; \
got (3, 4)
    """
    if mask is None:
        return
    rows = mask.shape[1:]
    for name, tree in trees.items():
        for leaf in jax.tree.leaves(tree):
            if leaf.shape[: len(rows)] != rows:
                raise ValueError(
                    f"{function}: the arrays in {name} must have the batch axes {rows} of lengths,"
                    f" mask and reset; got {leaf.shape}"
                )
