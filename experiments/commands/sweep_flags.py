"""The flags of the commands sweep and search: their own, and fields of the config."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from experiments.commands.overrides import parse_overrides
from experiments.errors import UserError
from lstm_jax.did_you_mean import did_you_mean

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


class SweepParser(argparse.ArgumentParser):
    """A parser whose errors are those of the other commands.

    Args:
      command: the command, for messages.
    """

    def __init__(self, command: str) -> None:
        super().__init__(prog=command, allow_abbrev=False, add_help=False)
        self.command = command

    def error(self, message: str) -> NoReturn:
        """Raise the message as a `UserError`."""
        raise UserError(f"{self.command}: {message.removeprefix('argument ')}")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The values of the flags.

        Raises:
          UserError: if a flag is unknown, or its value is not as it should be.
        """
        given, unknown = self.parse_known_args(list(words))
        for word in unknown:
            flag = word.partition("=")[0]
            known = [option for action in self._actions for option in action.option_strings]
            hint = did_you_mean(flag, known)
            # Both spellings are read; the pages have hyphens but in --max_lanes.
            text = f"{flag}{hint}".replace("_", "-").replace("max-lanes", "max_lanes")
            raise UserError(f"{self.command}: unknown option {text}")
        return given
