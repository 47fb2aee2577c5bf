"""Backends: ways to unroll a cell over a sequence. The plain scan is the reference."""

from lstm_jax.backends.request import Backend, Request
from lstm_jax.backends.scan import Emit, scan_request
from lstm_jax.backends.select import (
    BACKENDS,
    Selection,
    select,
    unrolls_children,
    unrolls_in_chunks,
    warn_of_fallback,
)

__all__ = [
    "BACKENDS",
    "Backend",
    "Emit",
    "Request",
    "Selection",
    "scan_request",
    "select",
    "unrolls_children",
    "unrolls_in_chunks",
    "warn_of_fallback",
]
