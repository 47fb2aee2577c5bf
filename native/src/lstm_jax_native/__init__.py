"""The compiled kernels of `lstm_jax`, as calls that XLA makes.

>>> instruction_set() in ("avx512", "avx2", "baseline")
True
"""

import ctypes
import functools
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

INTERFACE = 2
"""Counted up whenever the arguments of the calls change, so that none is called as another."""

TARGETS = ("lstm_jax_forward", "lstm_jax_backward")
"""Names of the calls."""


@functools.cache
def library() -> ctypes.CDLL:
    """The loaded library.

    Returns:
      A handle whose attributes in `TARGETS` are the calls.

    Raises:
      OSError: when it cannot be loaded.
    """
    return ctypes.CDLL(str(Path(__file__).parent / "liblstm_jax.so"))


def handler(target: str) -> Any:
    """The call of a name, as `jax.ffi.pycapsule` takes it."""
    return getattr(library(), target)


def instruction_set() -> str:
    """What this machine runs: ``avx512``, ``avx2``, or ``baseline`` (SSE2, or Neon on Arm)."""
    name = library().lstm_jax_instruction_set
    name.restype = ctypes.c_char_p
    return name().decode()
