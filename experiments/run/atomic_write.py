"""Atomic replacement of files."""

import os
from pathlib import Path


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write or replace a file atomically: after a crash it has the old or the new content.

    Args:
      path: the file.
      content: the whole content.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
