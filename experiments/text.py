"""Text in lines of a limited width."""

import textwrap

NO_BREAK = "\N{NO-BREAK SPACE}"


def wrap_at_commas(text: str, width: int, indent: str = "") -> str:
    """Wrap text behind its commas, and at other spaces only where a part is longer than a line.

    Args:
      text: such as names and values of fields.
      width: the number of characters in a line.
      indent: the start of every line but the first.

    >>> print(wrap_at_commas("length 200, learning_rate 0.01, updates 800", 24))
    length 200,
    learning_rate 0.01,
    updates 800
    >>> print(wrap_at_commas("a name of many words", 12))
    a name of
    many words
    """
    room = width - len(indent) - 1
    parts = [
        part.replace(" ", NO_BREAK) if len(part) <= room else part for part in text.split(", ")
    ]
    lines = textwrap.wrap(", ".join(parts), width, subsequent_indent=indent)
    return "\n".join(lines).replace(NO_BREAK, " ")
