"""The environment of a run: versions, device, machine and commit."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def current_environment() -> dict[str, Any]:
    """The content of environment.json; without a git repository the commit is None."""
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        **machine(),
        "device": device.device_kind,
        "backend": jax.default_backend(),
        "devices": jax.device_count(),
        "versions": {package: version(package) for package in PACKAGES},
        **commit(),
    }


def machine() -> dict[str, Any]:
    """The platform, the processor, and the number of cores available to this process."""
    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_field("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
    }


def commit() -> dict[str, Any]:
    """The commit of the code, and whether files have changed since."""
    changes = _git("status", "--porcelain")
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": None if changes is None else bool(changes),
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


def _git(*arguments: str) -> str | None:
    """The output of a git command in the folder of the code; None without git or a repository."""
    try:
        result = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
