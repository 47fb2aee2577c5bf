"""Reading of files that may be damaged, replaced or no files at all."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from experiments.errors import UserError
from experiments.run.atomic_write import OPEN_FLAGS
from experiments.run.shown_path import shown

# Without it, opening a pipe waits for a writer.
NO_WAIT = getattr(os, "O_NONBLOCK", 0)


def open_regular(path: Path) -> int:
    """Open a file to read.

    A pipe or a device is an error: reading from one could wait forever.

    Returns:
      The handle, to be closed.

    Raises:
      OSError: if there is no such file, or it is not a regular one.
    """
    handle = os.open(path, os.O_RDONLY | NO_WAIT | OPEN_FLAGS)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "not a regular file", str(path))
    return handle


def read_regular(path: Path) -> bytes:
    """The content of a regular file."""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read()


def parse_json(data: bytes) -> Any:
    """Parse JSON; numbers that are not finite are errors.

    Raises:
      ValueError: if it is not JSON in UTF-8.

    >>> parse_json(b'{"update": 10}')
    {'update': 10}
    """
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_not_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _not_finite(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def read_json(path: Path, like: Any) -> Any:
    """Read a JSON file and check its form.

    Args:
      path: the file.
      like: the form, as in `form_error`.

    Returns:
      The content, or None if there is no such file.

    Raises:
      UserError: if it cannot be read, or has another form.
    """
    if not os.path.lexists(path):
        return None
    try:
        value = parse_json(read_regular(path))
    except OSError as error:
        raise UserError(f"{shown(path)}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise UserError(f"{shown(path)}: cannot be read: not JSON") from None
    if (reason := form_error(value, like)) is not None:
        raise UserError(f"{shown(path)}: cannot be read: {reason}")
    return value


NUMBER = (int, float)


def form_error(value: Any, like: Any, name: str = "") -> str | None:
    """How a value of JSON differs from a form.

    Args:
      value: the value.
      like: a type or a tuple of types (None stands for null); a dict of the keys that must be
        there, where the key ``...`` stands for every other key; or a list of the form of the
        entries.
      name: where the value stands, for the message.

    Returns:
      A message about the first difference, or None.

    >>> form_error({"seeds": [0, "1"]}, {"seeds": [int]})
    'seeds[1]: must be a whole number, not text'
    >>> form_error({}, {"seeds": [int]})
    'seeds is missing'
    """
    if isinstance(like, dict):
        if not isinstance(value, dict):
            return _must_be(name, "a mapping", value)
        inside = f"{name}." if name else ""
        for key in like:
            if key is not ... and key not in value:
                return f"{inside}{key} is missing"
        parts = [(f"{inside}{key}", value[key], like.get(key, like.get(...))) for key in value]
    elif isinstance(like, list):
        if not isinstance(value, list):
            return _must_be(name, "a list", value)
        parts = [(f"{name}[{i}]", each, like[0]) for i, each in enumerate(value)]
    else:
        types = like if isinstance(like, tuple) else (like,)
        # Exact types: in Python, True is an int too.
        kind = None if value is None else type(value)
        return None if kind in types else _must_be(name, " or ".join(map(_type_name, types)), value)
    for part, each, form in parts:
        if form is not None and (reason := form_error(each, form, part[:100])) is not None:
            return reason
    return None


def _must_be(name: str, wanted: str, value: Any) -> str:
    got = _type_name(None if value is None else type(value))
    return f"{name or 'the content'}: must be {wanted}, not {got}"


def _type_name(kind: Any) -> str:
    names = {
        int: "a whole number", float: "a number", str: "text", bool: "true or false",
        list: "a list", dict: "a mapping", None: "null",
    }  # fmt: skip
    return names[kind]
