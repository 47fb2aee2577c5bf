"""What a kernel is asked for, and what it answers."""

from dataclasses import dataclass
from typing import Any, Protocol

import jax

from lstm_jax.backends.body import Apply, Carry, Inputs, Operands, Padding
from lstm_jax.backends.scan import Remat
from lstm_jax.sharding import is_sharded
from lstm_jax.types import PyTree


@dataclass(frozen=True)
class Problem:
    """One cell over one sequence.

    Attributes:
      function: the public function to name in errors.
      cell: any cell.
      step: its step, a value if the cell is one.
      is_value: whether an equal cell does the same.
      operands: parameters, the state that resets return to, and the key.
      inputs: inputs, masks, resets and times, leaves ``[T, ...]``.
      carry: the state before the first step.
      padding: what to show at masked steps.
      reverse: run from the last step to the first.
      remat: what a gradient keeps.
      unroll: steps per iteration of a compiled loop.
      return_states: whether to give every state.
      safe_inputs: whether the inputs of masked steps are for the cell to see.
    """

    function: str
    cell: Any
    step: Apply
    is_value: bool
    operands: Operands
    inputs: Inputs
    carry: Carry
    padding: Padding
    reverse: bool
    remat: Remat
    unroll: int
    return_states: bool
    safe_inputs: bool

    @property
    def leaves(self) -> list[jax.Array]:
        """All arrays that go in."""
        return jax.tree.leaves((self.operands, self.inputs, self.carry))


class Kernel(Protocol):
    """A way to run a cell over a sequence; each is a module."""

    def unsupported_cell_reason(self, cell: Any) -> str | None:
        """Why it never runs the cell on this machine, or None."""
        ...

    def unsupported_reason(self, problem: Problem) -> str | None:
        """Why it cannot solve the problem, or None."""
        ...

    def not_preferred_reason(self) -> str | None:
        """Why it should not be taken unless asked for, though it could, or None."""
        ...

    def solve(self, problem: Problem) -> tuple[PyTree, PyTree, PyTree]:
        """``(final state, outputs, states)``, the last with leaves ``[T, ...]``, or None."""
        ...


def explicit_mesh_reason(problem: Problem) -> str | None:
    """Why a kernel with a gradient of its own cannot solve a problem of split arrays, or None."""
    explicit = any(map(is_sharded, problem.leaves))
    return "arrays are split over a mesh with explicit axes" if explicit else None


def has_symbols(problem: Problem) -> str | None:
    """Why a kernel with a gradient of its own cannot solve a problem of unknown size, or None."""
    known = all(isinstance(size, int) for leaf in problem.leaves for size in leaf.shape)
    return None if known else "its sizes must be numbers; some are symbols"


def platform() -> str:
    """Where computations go unless told otherwise: ``cpu``, ``gpu`` or ``tpu``.

    >>> platform() in ("cpu", "gpu", "tpu")
    True
    """
    device = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    if device is None:
        return jax.default_backend()
    return device if isinstance(device, str) else device.platform
