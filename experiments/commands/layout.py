"""Text of the help in lines that fit, on a terminal or not."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

NARROW = 72
"""Columns below which a description stands under its flag."""


def standard_output() -> Console:
    """Standard output; without a terminal it is plain text of the width of `COLUMNS`, or 80."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=False)


def print_title(console: Console, title: str) -> None:
    """A title, below an empty line."""
    console.print()
    print_text(console, title, style="bold")


def print_pairs(console: Console, pairs: Sequence[tuple[str, str]]) -> None:
    """Flags, each with its description."""
    for left, right in pairs:
        print_pair(console, Text(left, style="cyan"), right)


def print_pair(console: Console, left: Text, right: str) -> None:
    """A flag and its description beside it, or below it where there is no room."""
    column = min(44, console.width // 2)
    beside = console.width >= NARROW and len(left) + 4 <= column
    if not beside:
        console.print(Text("  ").append_text(left), crop=False)
        print_text(console, right, indent=6 if console.width < NARROW else column)
        return
    lines = Text(right).wrap(console, max(console.width - column, 20))
    for i, line in enumerate(lines):
        line.rstrip()
        start = Text("  ").append_text(left) if i == 0 else Text("")
        start.pad_right(column - len(start))
        console.print(start.append_text(line), no_wrap=True, crop=False)


def print_text(
    console: Console, text: str, indent: int = 0, hanging: int | None = None, style: str = ""
) -> None:
    """Text in lines of the console's width, the first with an indent of its own."""
    hanging = indent if hanging is None else hanging
    lines = Text(text, style=style).wrap(console, max(console.width - max(indent, hanging), 20))
    for i, line in enumerate(lines):
        line.rstrip()
        start = Text(" " * (indent if i == 0 else hanging))
        console.print(start.append_text(line), no_wrap=True, crop=False)
