"""The native backend of `lstm_jax`: compiled functions that XLA calls.

>>> instruction_set() in ("avx512", "avx2", "baseline")
True
"""

import ctypes
import functools
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

ABI_VERSION = 2
"""Version of the arguments of the calls; that of `lstm_jax.backends.ffi` must be equal."""

TARGETS = ("lstm_jax_forward", "lstm_jax_backward")
"""Names of the functions that XLA calls."""


@functools.cache
def library() -> ctypes.CDLL:
    """The loaded library.

    Returns:
      A handle with the functions in `TARGETS` as attributes.

    Raises:
      OSError: when it cannot be loaded.
    """
    return ctypes.CDLL(str(Path(__file__).parent / "liblstm_jax.so"))


def handler(target: str) -> Any:
    """The function of a name in `TARGETS`, for `jax.ffi.pycapsule`."""
    return getattr(library(), target)


def instruction_set() -> str:
    """The instruction set in use: ``avx512``, ``avx2``, or ``baseline`` (SSE2, or Neon on Arm)."""
    name = library().lstm_jax_instruction_set
    name.restype = ctypes.c_char_p
    return name().decode()
