"""Text in plain letters, for streams whose encoding lacks a character."""

import unicodedata

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
    "µ": "u",
    "←": "<-",
}


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


def encode_plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of `codecs`: the plain form of characters that cannot be encoded.

    A byte of a path that is not UTF-8 is written as it is.

    >>> import codecs
    >>> codecs.register_error("plain", encode_plainly)
    >>> "0.1 ± 0.02 漢".encode("ascii", "plain")
    b'0.1 +- 0.02 ?'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    if all("\udc80" <= character <= "\udcff" for character in part):
        return part.encode("utf-8", "surrogateescape"), error.end
    return "".join("?" if "\ud800" <= c <= "\udfff" else _character(c) for c in part), error.end
