"""Which kernel a run takes, and why not another."""

import os
from dataclasses import dataclass
from typing import Any, Unpack

import jax

from lstm_jax.backends import BACKENDS, Choice, Implementation
from lstm_jax.backends.ffi import INSTRUCTION_SETS, instruction_set
from lstm_jax.prepare import prepare
from lstm_jax.steps import BareStep, as_cell
from lstm_jax.transforms.transform import param_shapes
from lstm_jax.types import PyTree
from lstm_jax.unroll import Options


@dataclass(frozen=True)
class Explanation:
    """The kernels that a run takes; prints as a short text.

    Attributes:
      choices: one for each cell that is run over the sequence, in that order, equal ones once.
    """

    choices: tuple[Choice, ...]

    @property
    def implementations(self) -> tuple[Implementation, ...]:
        """Names of the kernels, one for each choice."""
        return tuple(choice.kernel for choice in self.choices)

    def __repr__(self) -> str:
        return "\n".join(map(_described, self.choices))


def explain(
    cell: Any,
    xs: PyTree,
    state: PyTree = None,
    *,
    params: PyTree = None,
    return_states: bool = False,
    **options: Unpack[Options],
) -> Explanation:
    """Say which kernel `unroll` would take for a run, and why not the others.

    Nothing is computed; arrays may be given as `jax.ShapeDtypeStruct`.

    Args:
      cell: any cell, or a bare step function with its `params` and `state`.
      xs: inputs ``[T, ..., I]``.
      state: the state to start from, or None for the cell's own.
      params: parameters, if they are not like those that the cell draws.
      return_states: as of `unroll`.
      **options: as of `unroll`.

    Returns:
      An `Explanation`.

    Raises:
      TypeError, ValueError: as `unroll`.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> lj.explain(lj.LSTM(3, 5), jnp.ones((7, 2, 3)), implementation="scan").implementations
    ('scan',)
    """
    choices: list[Choice] = []
    known = as_cell("explain", cell, params, anew=True)
    if params is None and not isinstance(known, BareStep):
        params = param_shapes(known)
    start_time = options.pop("start", 0)
    # What is not a type alone is left as it is: its numbers are checked.
    types = {name: value for name, value in options.items() if _is_type(value)}
    options_: dict[str, Any] = {**options}

    def run(params: PyTree, xs: PyTree, state: PyTree, types: dict[str, Any]) -> PyTree:
        prepared, a_cell, bound, start = prepare(
            "explain",
            cell,
            params,
            xs,
            state,
            **options_ | types,
            start_time=start_time,
            return_states=return_states,
            note=choices.append,
        )
        return prepared(a_cell, bound, xs, start, types.get("key", options.get("key")))

    jax.eval_shape(run, params, xs, state, types)
    # Chunks of a sequence, and two directions, choose alike.
    return Explanation(tuple(c for k, c in enumerate(choices) if c not in choices[:k]))


def _is_type(value: Any) -> bool:
    return isinstance(value, jax.ShapeDtypeStruct)


def _vectors() -> str:
    """The instruction set in use, and what is to be said of another that was asked for."""
    taken, wanted = instruction_set(), os.environ.get("LSTM_JAX_ISA")
    if wanted in (None, "", taken):
        return taken
    if wanted in INSTRUCTION_SETS:
        return f"{taken}; not {wanted}, which this machine cannot run"
    return f"{taken}; LSTM_JAX_ISA={wanted} is none of {', '.join(INSTRUCTION_SETS)}"


def _described(choice: Choice) -> str:
    how = f" ({_vectors()})" if choice.kernel == "cpu" else ""
    lines = [f"{choice.cell}", f"  {choice.kernel}{how}"]
    width = max(map(len, BACKENDS))
    lines += [f"  not {name:<{width}}  {reason}" for name, reason in choice.others.items()]
    return "\n".join(lines)
