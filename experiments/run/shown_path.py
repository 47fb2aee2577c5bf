"""Paths in messages: one line of printable text, whatever bytes a name has."""

import os
from pathlib import Path


def shown(path: str | os.PathLike[str]) -> str:
    r"""A path for a message; bytes that are no UTF-8, line breaks and the like are escaped.

    >>> shown("runs/lr[0.1]"), shown("runs/a b\n"), shown(os.fsdecode(b"runs/\xff"))
    ('runs/lr[0.1]', 'runs/a b\\n', 'runs/\\xff')
    """
    text = os.fsencode(Path(path)).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
