"""Files that a crash, a full disk or a power cut leaves with their old or their new content."""

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from typing_extensions import Buffer

from experiments.errors import UserError, WriteFailed
from experiments.run.shown_path import shown

# Windows has no O_CLOEXEC, and opens files as text without O_BINARY.
OPEN_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

FULL = {errno.ENOSPC, errno.EDQUOT}


class FileDigest(NamedTuple):
    """The size of a file in bytes, and the SHA-256 of its content in hexadecimal digits."""

    size: int
    sha256: str


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write or replace a file atomically: after a crash it has the old or the new content.

    Args:
      path: the file.
      content: the whole content.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = path.with_name(path.name + ".tmp")
    try:
        write_synced(temporary, [data])
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)


def write_synced(path: Path, chunks: Iterable[Buffer]) -> FileDigest:
    """Write a file and wait until it is on the disk.

    Args:
      path: the file; an old one is emptied first.
      chunks: the parts of the content, in order.

    Returns:
      The digest of what was to be written.
    """
    size, digest = 0, hashlib.sha256()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | OPEN_FLAGS, 0o666)
    try:
        for chunk in chunks:
            write_all(handle, chunk)
            digest.update(chunk)
            size += memoryview(chunk).nbytes
        os.fsync(handle)
    finally:
        os.close(handle)
    return FileDigest(size, digest.hexdigest())


def write_all(handle: int, data: Buffer) -> None:
    """Write all bytes to an open file; usually by one call of the system."""
    view = memoryview(data)
    if not view.nbytes:
        return
    view = view.cast("B")
    while view:
        view = view[os.write(handle, view) :]


def sync_folder(path: Path) -> None:
    """Wait until the names of a folder's files are on the disk, where the system offers that."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


@contextmanager
def write_errors(path: Path, at_start: bool = False) -> Iterator[None]:
    """Turn a failed write of the block into one message.

    Args:
      path: the file or folder that the block writes.
      at_start: whether nothing has been trained yet, so that the folder is what is wrong.

    Raises:
      UserError: at the start.
      WriteFailed: later.
    """
    try:
        yield
    except OSError as error:
        message = f"{shown(path)}: cannot be written: {error.strerror or error}"
        if at_start:
            raise UserError(message) from None
        advice = "make room, and" if error.errno in FULL else "once it can be written,"
        raise WriteFailed(
            f"{message}; all that was saved before is intact; {advice} the same command"
            " resumes the run"
        ) from None
