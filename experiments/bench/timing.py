"""Time and memory of a call, measured in its own process."""

import ctypes
import gc
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

Call = Callable[[], object]
"""Computes a result once, and returns when it is ready."""

Values = dict[str, dict[str, float]]
"""Minimum and median of the values measured in one round, by name."""

LEAST_CALLS = 3
LEAST_SAMPLE_SECONDS = 1e-3
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def seconds(call: Call, budget: float) -> dict[str, float]:
    """Time a call repeatedly.

    Args:
      call: the call.
      budget: seconds for which the call is repeated, at least three times.

    Returns:
      ``min`` and ``median`` seconds of a call, and the number of ``calls``. Short calls are timed
      in groups, and a group counts by its mean.
    """
    # The first call has cold caches and may compile: it is not timed.
    call()
    start = time.perf_counter()
    call()
    group = max(1, math.ceil(LEAST_SAMPLE_SECONDS / (time.perf_counter() - start)))
    samples: list[float] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = time.perf_counter() + budget
        while len(samples) < LEAST_CALLS or time.perf_counter() < end:
            start = time.perf_counter()
            for _ in range(group):
                call()
            samples.append((time.perf_counter() - start) / group)
    finally:
        if collecting:
            gc.enable()
    return {
        "min": min(samples),
        "median": statistics.median(samples),
        "calls": len(samples) * group,
    }


def memory_growth(call: Call, calls: int = LEAST_CALLS) -> float:
    """The increase of the process's peak resident memory during calls.

    Args:
      call: the call.
      calls: number of calls.

    Returns:
      MiB above the resident memory before the calls.
    """
    _reset_peak()
    before = peak_mib()
    for _ in range(calls):
        call()
    return peak_mib() - before


def _reset_peak() -> None:
    """Reset the peak to the resident memory, if the system supports it."""
    gc.collect()
    try:
        # Return the memory that compilation freed, or the calls would reuse it.
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR.write_text("5", encoding="ascii")
    except (OSError, AttributeError, TypeError):
        pass


def peak_mib() -> float:
    """The peak of the resident memory of this process, in MiB."""
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    import resource  # Windows has none.

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** (20 if sys.platform == "darwin" else 10)
