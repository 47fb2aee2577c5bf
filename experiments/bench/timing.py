"""Time and memory of a call, inside the process that makes it."""

import ctypes
import gc
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

Call = Callable[[], object]
"""Does the work once, and returns when its result is there."""

Values = dict[str, dict[str, float]]
"""What one visit measured: the least and the median, by the name of the value."""

LEAST_CALLS = 3
LEAST_SAMPLE_SECONDS = 1e-3
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def seconds(call: Call, budget: float) -> dict[str, float]:
    """Time a call, over and over.

    Args:
      call: what to time.
      budget: seconds to go on for; three calls are made in any case.

    Returns:
      ``min`` and ``median`` seconds of a call, and the number of ``calls``. Short calls are timed
      several at once, and those several count by their mean.
    """
    # The first call after others have run finds cold caches, and perhaps nothing compiled.
    call()
    start = time.perf_counter()
    call()
    several = max(1, math.ceil(LEAST_SAMPLE_SECONDS / (time.perf_counter() - start)))
    samples: list[float] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = time.perf_counter() + budget
        while len(samples) < LEAST_CALLS or time.perf_counter() < end:
            start = time.perf_counter()
            for _ in range(several):
                call()
            samples.append((time.perf_counter() - start) / several)
    finally:
        if collecting:
            gc.enable()
    return {
        "min": min(samples),
        "median": statistics.median(samples),
        "calls": len(samples) * several,
    }


def memory_growth(call: Call, calls: int = LEAST_CALLS) -> float:
    """By how much some calls raise the peak of the process's resident memory.

    Args:
      call: what needs the memory.
      calls: how often it is made.

    Returns:
      MiB beyond what was resident before.
    """
    _forget_peak()
    before = _peak_mib()
    for _ in range(calls):
        call()
    return _peak_mib() - before


def _forget_peak() -> None:
    """Let the peak begin anew at what is resident, where the system can."""
    gc.collect()
    try:
        # What compilation has freed must not serve the calls unseen.
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR.write_text("5", encoding="ascii")
    except (OSError, AttributeError, TypeError):
        pass


def _peak_mib() -> float:
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    import resource  # Windows has none.

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** (20 if sys.platform == "darwin" else 10)
