"""Errors of reading files: each names the file, and a damaged file raises `ValueError` alone."""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any

_MAX_MESSAGE = 1000
"""Characters of a message: text from a file may have any length."""


@contextlib.contextmanager
def reading(function: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise `ValueError` with the name of the file for anything that reading its content raises.

    Libraries that parse files raise exceptions of many kinds for damaged ones. An error of the
    file system stays an `OSError`, with the name of the file; an `ImportError` stays as it is.

    Args:
      function: the public function to name in errors.
      path: the file.

    Raises:
      ValueError: for an exception in the block.
      OSError: when the file cannot be opened or read.

    >>> with reading("torch.load_file", "model.pt"):
    ...     {}["data.pkl"]
    Traceback (most recent call last):
    ValueError: torch.load_file: model.pt: KeyError: 'data.pkl'
    """
    place = f"{function}: {os.fspath(path)}"
    try:
        yield
    except ImportError:
        raise
    except OSError as error:
        # A damaged file makes a reader seek to a position before its start.
        if error.errno in (None, errno.EINVAL):
            raise ValueError(f"{place}: it is damaged: {shorten(error, _MAX_MESSAGE)}") from error
        if error.filename is None:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    except Exception as error:
        reason = str(error).removeprefix(f"{place}: ").removeprefix(f"{function}: ")
        if type(error) is not ValueError and reason == str(error):  # of a library, not of ours
            reason = f"{type(error).__name__}: {reason}"
        short = shorten(reason, _MAX_MESSAGE)
        dots = "..." if len(reason) > _MAX_MESSAGE else ""
        raise ValueError(f"{place}: {short}{dots}") from error


def shorten(value: Any, most: int = 80) -> str:
    """Shorten the text of a value from a file, which may have any length.

    >>> shorten("n" * 1000) == "n" * 80
    True
    """
    return str(value)[:most]
