"""The commit of the code, asked of git for no longer than a second."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS = 0.9
"""How long git may take; some folders on a network make it wait for long."""


def commit() -> dict[str, Any]:
    """The commit of the code, and whether files have changed since; None where git gives none."""
    deadline = time.monotonic() + SECONDS
    head = _git("rev-parse", "HEAD", deadline=deadline)
    changes = _git("status", "--porcelain", deadline=deadline) if head else None
    return {
        "git_commit": head.decode("ascii", "replace").strip() if head else None,
        "git_dirty": None if changes is None else bool(changes.strip()),
    }


def _git(*arguments: str, deadline: float) -> bytes | None:
    """The output of a git command in the folder of the code, or None if it fails or hangs."""
    try:
        process = subprocess.Popen(
            ["git", "--no-optional-locks", *arguments],
            cwd=Path(__file__).parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
    with process:
        try:
            output, _ = process.communicate(timeout=max(deadline - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            process.kill()
            # Its children would keep the pipe open.
            with suppress(OSError, AttributeError):
                os.killpg(process.pid, signal.SIGKILL)
            return None
    return output if process.returncode == 0 else None
