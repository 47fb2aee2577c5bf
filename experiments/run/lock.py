"""A lock on a folder: one training at a time."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.errors import UserError
from experiments.run.atomic_write import OPEN_FLAGS, write_errors
from experiments.run.read_file import NO_WAIT
from experiments.run.shown_path import shown

try:
    import fcntl
except ImportError:  # Windows has no such lock, so there two processes are not kept apart.
    fcntl = None

NAME = ".lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder for this process; the system ends the lock with the process, however it ends.

    Args:
      folder: the folder; the file ``.lock`` in it is locked, and says which process has the lock.

    Raises:
      UserError: if another process has it; then nothing was changed.
    """
    with write_errors(folder, at_start=True):
        handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | NO_WAIT | OPEN_FLAGS, 0o666)
    try:
        if fcntl is not None:
            _acquire(handle, folder)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, folder: Path) -> None:
    assert fcntl is not None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(handle, 200, 0).decode("utf-8", "replace").strip()
        by = f" ({owner})" if owner.isprintable() and owner else ""
        raise UserError(f"{shown(folder)}: another process is training there{by}") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        message = f"{shown(folder)}: its file system has no locks: train there only once at a time"
        print(message, file=sys.stderr)
        return
    with write_errors(folder, at_start=True):
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
