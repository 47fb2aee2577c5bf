"""Which backend runs a request: everything that decides it."""

import dataclasses
import functools
import os
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lstm_jax.backends import cpu, cudnn, parallel, scan
from lstm_jax.backends.request import Backend, Request
from lstm_jax.options import Implementation
from lstm_jax.transforms.transform import Transform, needs_sequence, sequence_follows_steps

_PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"

# In the order in which they are considered; the scan supports everything.
BACKENDS: dict[Implementation, Backend] = {
    "cpu": cpu,
    "cudnn": cudnn,
    "parallel": parallel,
    "scan": scan,
}


class Selection(NamedTuple):
    """The backend that runs a cell, and why the others do not.

    Attributes:
      cell: the cell.
      implementation: name of the backend.
      reasons: for the backends that come before it, why they do not run the cell.
    """

    cell: Any
    implementation: Implementation
    reasons: dict[Implementation, str]


def select(request: Request) -> Selection:
    """The first backend that supports a request and is preferred, or the one that it names.

    Args:
      request: a request for a single cell, or for one that is unrolled step by step.

    Returns:
      The selection; the scan where no other backend is left.
    """
    named = request.options.implementation
    reasons: dict[Implementation, str] = {}
    for name, backend in BACKENDS.items():
        if name == "scan":
            break
        if named in (None, name):
            reason = _option_reason(backend, request) or backend.unsupported_reason(request)
            if reason is None and named is None:
                reason = backend.not_preferred_reason()
            if reason is None:
                return Selection(request.cell, name, reasons)
        else:
            reason = f"implementation={named!r} is requested"
        reasons[name] = reason
    return Selection(request.cell, "scan", reasons)


def warn_of_fallback(function: str, selection: Selection, named: Implementation | None) -> None:
    """Warn where the scan runs in place of the backend that a call names, once for each reason.

    Args:
      function: the public function to name in the warning.
      selection: what is selected for a cell.
      named: the backend that the call names, or None.

    >>> from lstm_jax import GRU
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     reasons = {"cpu": "it runs the plain LSTM; the cell is a GRU"}
    ...     warn_of_fallback("unroll", Selection(GRU(2, 3), "scan", reasons), "cpu")
    >>> print(caught[0].message)
    unroll: the scan runs GRU(input_size=2, hidden_size=3), not implementation='cpu': it runs the \
plain LSTM; the cell is a GRU
    """
    if named in (None, selection.implementation):
        return
    reason = selection.reasons[named]
    _warn_once(
        f"{function}: the scan runs {selection.cell}, not implementation={named!r}: {reason}"
    )


@functools.lru_cache(maxsize=256)
def _warn_once(text: str) -> None:
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, UserWarning, stacklevel=level)


def _option_reason(backend: Backend, request: Request) -> str | None:
    """Why a backend does not support an option: it does not declare it, and it is given."""
    for field in dataclasses.fields(request.options):
        value = getattr(request.options, field.name)
        if field.name not in backend.OPTIONS and value != field.default:
            return f"it does not support {field.name}; {field.name}={value!r} is given"
    return None


def unrolls_children(request: Request) -> bool:
    """Whether the cells of a transform are unrolled one after the other over the whole sequence.

    They are where one of them needs the whole sequence, as in `bidirectional`, or where a backend
    runs one of them over the whole sequence and all of it may be kept for a gradient.
    """
    cell = request.cell
    if not isinstance(cell, Transform):
        return False
    if needs_sequence(cell):
        return True
    return request.options.remat is None and has_layer_backend(cell, request.options.implementation)


def unrolls_in_chunks(request: Request) -> bool:
    """Whether chunks of the sequence are run by a backend that keeps all of its chunk."""
    remat = request.options.remat
    if not isinstance(remat, int) or request.return_states:
        return False
    T = jax.tree.leaves(request.xs)[0].shape[0]
    simple = request.valid is None or request.options.padding == "zero"
    known = isinstance(T, int) and T > 0
    return known and simple and has_layer_backend(request.cell, request.options.implementation)


def has_layer_backend(cell: Any, named: Implementation | None) -> bool:
    """Whether a backend other than the scan would run the cell, or one of its cells."""
    if named == "scan":
        return False
    if isinstance(cell, Transform):
        children = cell.children()
        return sequence_follows_steps(cell) and any(has_layer_backend(c, named) for c in children)
    return any(
        backend.unsupported_cell_reason(cell) is None
        and (name == named or backend.not_preferred_reason() is None)
        for name, backend in BACKENDS.items()
        if name != "scan" and named in (None, name)
    )
