"""Which kernel to take."""

from typing import Any, Literal, NamedTuple

from lstm_jax.backends import cpu, cudnn, loop, parallel
from lstm_jax.backends.problem import Kernel, Problem

Implementation = Literal["scan", "cpu", "cudnn", "parallel"]
"""A way to run a cell over a sequence."""

# In the order in which they are asked.
BACKENDS: dict[Implementation, Kernel] = {
    "cpu": cpu,
    "cudnn": cudnn,
    "parallel": parallel,
    "scan": loop,
}

# Those that are for some bare cells only.
_WHOLE: tuple[Implementation, ...] = ("cpu", "cudnn", "parallel")

IMPLEMENTATIONS: tuple[Implementation, ...] = tuple(BACKENDS)


class Choice(NamedTuple):
    """The kernel that a cell runs by, and why not by others.

    Attributes:
      cell: the cell.
      kernel: name of the kernel.
      others: why not those that come before it.
    """

    cell: Any
    kernel: Implementation
    others: dict[Implementation, str]


def choose(problem: Problem, wanted: Implementation | None) -> Choice:
    """The first kernel that can and would solve a problem, or the wanted one if it can.

    Args:
      problem: what is asked for.
      wanted: name of a kernel, or None for the best.

    Returns:
      The choice; what no other kernel can do is done by the scan.
    """
    others: dict[Implementation, str] = {}
    for name, kernel in BACKENDS.items():
        if wanted in (None, name) or name == "scan":
            reason = kernel.unsupported_reason(problem) or (
                kernel.not_preferred_reason() if wanted is None else None
            )
        else:
            reason = f"{'the scan' if wanted == 'scan' else repr(wanted)} is asked for"
        if reason is None:
            return Choice(problem.cell, name, others)
        others[name] = reason
    raise AssertionError(others)


def gains_from_sequence(cell: Any, wanted: Implementation | None) -> bool:
    """Whether a bare cell has a kernel of its own that takes its whole sequence.

    Args:
      cell: a bare cell.
      wanted: name of a kernel, or None for the best.

    Returns:
      True if a transform of it should hand it the sequence.
    """
    return any(
        kernel.unsupported_cell_reason(cell) is None
        and (name == wanted or kernel.not_preferred_reason() is None)
        for name, kernel in BACKENDS.items()
        if name in _WHOLE and wanted in (None, name)
    )
