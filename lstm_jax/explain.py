"""Which backend `unroll` selects for a call, and why not another."""

import os
from dataclasses import dataclass
from typing import Any, Unpack

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Int

from lstm_jax.arrays import check_arrays
from lstm_jax.backends import BACKENDS, Selection
from lstm_jax.backends.ffi import INSTRUCTION_SETS, instruction_set
from lstm_jax.inputs import checked_inputs
from lstm_jax.masks import Flags
from lstm_jax.options import Implementation, OptionArgs, Options, takes_keywords_of
from lstm_jax.transforms.sizes import param_shapes
from lstm_jax.types import Cell, PRNGKey, PyTree
from lstm_jax.unroll import prepare


@dataclass(frozen=True)
class Explanation:
    """The backends that a call selects; prints as a short text.

    Attributes:
      selections: one for each cell that is unrolled, in that order; equal ones once.
    """

    selections: tuple[Selection, ...]

    @property
    def implementations(self) -> tuple[Implementation, ...]:
        """Names of the backends, one for each selection."""
        return tuple(selection.implementation for selection in self.selections)

    def __repr__(self) -> str:
        return "\n".join(map(_formatted, self.selections))


@takes_keywords_of(Options)
def explain(
    cell: Any,
    xs: PyTree,
    state: PyTree = None,
    *,
    params: PyTree = None,
    lengths: Int[ArrayLike, "..."] | None = None,
    mask: Flags | None = None,
    reset: Flags | None = None,
    reverse: bool = False,
    key: PRNGKey | None = None,
    start: int | Int[Array, ""] = 0,
    return_states: bool = False,
    **options: Unpack[OptionArgs],
) -> Explanation:
    """Report which backend `unroll` selects for a call, and why not the others.

    Nothing is computed; arrays may be given as `jax.ShapeDtypeStruct`.

    Args:
      cell: any cell, or a bare step function with its `params` and `state`.
      xs: inputs ``[T, ..., I]``.
      state: the state before the first step, or None for the cell's own initial state.
      params: parameters, where they differ in shape or dtype from those that `cell.init` draws.
      lengths: as in `unroll`.
      mask: as in `unroll`.
      reset: as in `unroll`.
      reverse: as in `unroll`.
      key: as in `unroll`.
      start: as in `unroll`.
      return_states: as in `unroll`.
      **options: the fields of `Options`.

    Returns:
      An `Explanation`.

    Raises:
      TypeError, ValueError: as `unroll`.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> lj.explain(lj.LSTM(3, 5), jnp.ones((7, 2, 3)), implementation="scan").implementations
    ('scan',)
    """
    selections: list[Selection] = []
    chosen = Options.from_args("explain", options)
    if params is None and isinstance(cell, Cell) and not isinstance(cell, type):
        params = param_shapes(cell)
    xs = checked_inputs("explain", cell, xs)
    params, state = check_arrays("explain", others=("params",), params=params, state=state)
    arrays = {"lengths": lengths, "mask": mask, "reset": reset, "key": key, "start": start}
    # Types are traced; arrays stay as they are, as their numbers are checked.
    types = {k: v for k, v in arrays.items() if isinstance(v, jax.ShapeDtypeStruct)}

    def compute(params: PyTree, xs: PyTree, state: PyTree, types: dict[str, Any]) -> PyTree:
        call = prepare(
            "explain", cell, params, xs, state, **arrays | types, reverse=reverse,
            options=chosen, return_states=return_states, on_select=selections.append,
        )  # fmt: skip
        return call.compute()

    jax.eval_shape(compute, params, xs, state, types)
    # Chunks of a sequence, and both directions, select the same backends.
    return Explanation(tuple(s for k, s in enumerate(selections) if s not in selections[:k]))


def _formatted(selection: Selection) -> str:
    details = f" ({_vectors()})" if selection.implementation == "cpu" else ""
    lines = [f"{selection.cell}", f"  {selection.implementation}{details}"]
    width = max(map(len, BACKENDS))
    lines += [f"  not {name:<{width}}  {reason}" for name, reason in selection.reasons.items()]
    return "\n".join(lines)


def _vectors() -> str:
    """The instruction set in use, and a hint where the environment names another."""
    selected, wanted = instruction_set(), os.environ.get("LSTM_JAX_ISA")
    if wanted in (None, "", selected):
        return selected
    if wanted in INSTRUCTION_SETS:
        return f"{selected}; not {wanted}, which this machine cannot run"
    return f"{selected}; LSTM_JAX_ISA={wanted} is none of {', '.join(INSTRUCTION_SETS)}"
