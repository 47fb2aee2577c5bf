"""The parser of a command's own flags."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from experiments.errors import UserError
from lstm_jax.did_you_mean import did_you_mean


class FlagParser(argparse.ArgumentParser):
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
        """The values of the flags, and of what is no flag where the command has that.

        Raises:
          UserError: if a flag is unknown, or its value is not as it should be.
        """
        known = [option for action in self._actions for option in action.option_strings]
        # A flag is read with hyphens and with underscores, and shown as the command spells it.
        spelling = {option.replace("-", "_"): option for option in known}

        def spelled(word: str) -> str:
            flag, equals, value = word.partition("=")
            return spelling.get(flag.replace("-", "_"), flag) + equals + value

        given, unknown = self.parse_known_intermixed_args(list(map(spelled, words)))
        for word in unknown:
            flag = word.partition("=")[0]
            raise UserError(f"{self.command}: unknown option {flag}{did_you_mean(flag, known)}")
        return given
