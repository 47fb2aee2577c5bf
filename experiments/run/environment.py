"""The environment of a run: versions, backend, devices, machine and commit."""

import os
import platform
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from experiments.run.git_commit import commit
from lstm_jax.backends import ffi

__all__ = ["commit", "cpu_field", "current_environment", "environment_differences", "machine"]

PACKAGES = ("lstm_jax", "lstm_jax_native", "jax", "jaxlib", "flax", "optax", "numpy")


def current_environment(
    implementations: Sequence[str] = (), devices: Sequence[Any] | None = None
) -> dict[str, Any]:
    """The content of environment.json; what is not there, such as a git repository, is None.

    Args:
      implementations: the backends that unroll the model, such as ``["cpu"]``.
      devices: the devices that train; by default the first one.
    """
    devices = jax.devices()[:1] if devices is None else devices
    return {
        "python": platform.python_version(),
        **machine(),
        "device": devices[0].device_kind,
        "backend": jax.default_backend(),
        "devices": len(devices),
        "device_kinds": dict(Counter(device.device_kind for device in devices)),
        "processes": jax.process_count(),
        "implementations": list(implementations),
        "instruction_set": _instruction_set(),
        "threads": threads(),
        "x64": jax.dtypes.canonicalize_dtype("float64") == "float64",
        "versions": {package: _version(package) for package in PACKAGES},
        **commit(),
    }


RESULT_DEPENDS_ON = (
    "backend", "device_kinds", "processes", "implementations", "instruction_set", "threads", "x64",
    "versions",
)  # fmt: skip
"""Entries that may change the last digits of a result."""


def environment_differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two environments and may change the last digits of a result.

    Args:
      before: an environment; what an older version did not record is not compared.
      now: another one.

    Returns:
      Texts such as ``"implementations scan, not cpu"``.

    >>> environment_differences({"threads": 2, "versions": {"jax": "0.10.2"}},
    ...                         {"threads": 4, "versions": {"jax": "0.11.0"}})
    ['threads 4, not 2', 'jax 0.11.0, not 0.10.2']
    """
    differing = []
    for name in RESULT_DEPENDS_ON:
        if name not in before or before[name] == now.get(name):
            continue
        if name == "versions":
            versions = now.get(name, {})
            pairs = {key: (versions.get(key), old) for key, old in before[name].items()}
        else:
            pairs = {name: (now.get(name), before[name])}
        differing += [
            f"{key} {_text(new)}, not {_text(old)}"
            for key, (new, old) in pairs.items()
            if new != old
        ]
    return differing


def threads() -> int:
    """The number of threads that XLA uses on the CPU."""
    given = os.environ.get("NPROC", "")
    return int(given) if given.isdecimal() and int(given[:9]) > 0 else machine()["cores"]


def machine() -> dict[str, Any]:
    """The platform, the processor, and the number of cores available to this process."""
    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_field("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
    }


def cpu_field(name: str) -> str | None:
    """A field of the first processor, on Linux.

    Args:
      name: the name of a field in /proc/cpuinfo.

    Returns:
      The value, or None if there is no such file or field.
    """
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.partition(":")[0].strip() == name:
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return None


def _instruction_set() -> str | None:
    """That of the native backend, or None without it."""
    return ffi.instruction_set() if ffi.load() is None else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(value) or "unknown"
    if isinstance(value, dict):
        return " and ".join(f"{count} x {kind}" for kind, count in value.items())
    return str(value).lower() if isinstance(value, bool | None) else str(value)
