"""Files that are either the old or the new, never half of one."""

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, or replace it, in one step.

    Args:
      path: the file.
      content: all of it.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    # Through a temporary file, so that an interruption never leaves half a file.
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
