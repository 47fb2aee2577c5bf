"""The flags of the commands sweep and search: their own, and fields of the config."""

from collections.abc import Sequence
from typing import Any

from experiments.commands.overrides import parse_overrides

TOP_FIELDS = ("seed", "seeds")


def split_flags(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The words that are flags of a command, and the fields of the config that others set.

    A field has a dot in its name, or is ``seed`` or ``seeds``.

    >>> split_flags(["--dry-run", "--train.updates", "100", "--seeds=2"])
    (['--dry_run'], {'train.updates': 100, 'seeds': 2})
    """
    own: list[str] = []
    fields: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        name = flag[2:].replace("-", "_")
        if word.startswith("--") and ("." in name or name in TOP_FIELDS):
            fields.append(word)
            if not equals and rest:
                fields.append(rest.pop(0))
        else:
            own.append(f"--{name}{equals}{value}" if word.startswith("--") else word)
    return own, parse_overrides(fields)
