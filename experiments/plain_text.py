"""Standard output and error that print any text, whatever their encoding."""

import codecs
import sys
import unicodedata

HANDLER = "experiments.readable"

_INSTEAD = {
    "±": "+-",
    "×": "x",
    "·": ".",
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "•": "*",
    "≤": "<=",
    "≥": ">=",
    "⁄": "/",  # of a fraction such as one half
    "→": "->",
    "←": "<-",
}


def make_streams_readable() -> None:
    """Let stdout and stderr replace what their encoding lacks, instead of raising an error.

    ``±`` is ``+-`` in ASCII; an accent is left out; lines of tables are ``-``, ``|`` and ``+``; a
    byte of a path that is not UTF-8 is printed as it is.
    """
    codecs.register_error(HANDLER, _replace)
    for stream in (sys.stdout, sys.stderr):
        # A closed stream is None; one that is not a text file has nothing to set.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=HANDLER)


def in_ascii(text: str) -> str:
    """A readable form of text in ASCII.

    >>> in_ascii("0.12 ± 0.01, 3 × 4, Schön ─ │ ┼ 漢")
    '0.12 +- 0.01, 3 x 4, Schon - | + ?'
    """
    return "".join(map(_character, text))


def _character(character: str) -> str:
    if character.isascii():
        return character
    if character in _INSTEAD:
        return _INSTEAD[character]
    name = unicodedata.name(character, "")
    if name.startswith("BOX DRAWINGS"):
        return _box(name)
    if name.endswith("BLOCK"):
        return "#"
    parts = unicodedata.normalize("NFKD", character)
    return "".join(c if c.isascii() else _INSTEAD.get(c, "") for c in parts) or "?"


def _box(name: str) -> str:
    if " AND " in name:
        return "+"
    return {"HORIZONTAL": "-", "VERTICAL": "|"}.get(name.rpartition(" ")[2], "+")


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    """The error handler: see the module `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    if all("\udc80" <= character <= "\udcff" for character in part):
        return part.encode("utf-8", "surrogateescape"), error.end
    return "".join("?" if "\ud800" <= c <= "\udfff" else _character(c) for c in part), error.end
