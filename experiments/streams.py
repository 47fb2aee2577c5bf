"""Standard streams that outlast their readers, so that no print ends a training.

A stream may be closed from the start (``>&-``), its reader may leave (``| head``), and its encoding
may lack a character. What cannot be written is discarded; a character is written in plain letters.
"""

import codecs
import errno
import io
import os
import sys
from typing import Any, TextIO

from experiments.plain_text import encode_plainly


class LastingFile(io.FileIO):
    """A file descriptor that discards everything after a write has failed.

    Attributes:
      error: the error of the write that failed, or None.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int | None:
        """Write to the descriptor, or discard."""
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            # Other writers to the descriptor, such as XLA, must not fail either.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return memoryview(data).nbytes


def open_streams() -> None:
    """Replace the streams of the process by lasting ones; call it before anything is printed."""
    codecs.register_error("plain", encode_plainly)
    for descriptor in (0, 1, 2):
        _open_if_closed(descriptor)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        by_line = stream is not None and (descriptor == 2 or stream.isatty())
        setattr(sys, name, _lasting(stream, descriptor, by_line))


def separate_streams() -> None:
    """Give stdout and stderr of Python descriptors of their own, and discard all other output.

    Where several processes compute together, native code writes lines about its connections.
    """
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        own = os.dup(descriptor)
        setattr(sys, name, _lasting(stream, own, by_line=descriptor == 2 or stream.isatty()))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)


def finish_streams() -> int:
    """Flush stdout, and say if a part of the output could not be written.

    Returns:
      The exit code: 1 if stdout failed, such as on a full disk; 0 also if its reader left.
    """
    sys.stdout.flush()
    error = getattr(getattr(sys.stdout.buffer, "raw", None), "error", None)
    if error is None or error.errno in (errno.EPIPE, errno.EBADF):
        return 0
    print(f"failed: stdout: {error.strerror}", file=sys.stderr)
    return 1


def _open_if_closed(descriptor: int) -> None:
    """Give a closed descriptor to the null device, before a file of the run gets its number."""
    try:
        os.fstat(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != descriptor:
            os.dup2(null, descriptor)
            os.close(null)


def _lasting(stream: TextIO | None, descriptor: int, by_line: bool) -> io.TextIOWrapper:
    """A lasting stream in place of one of Python's, which is None if it was closed."""
    encoding = stream.encoding if stream is not None else "utf-8"
    if stream is not None:
        stream.flush()
    file = LastingFile(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(file), encoding=encoding, errors="plain", line_buffering=by_line
    )
