"""The ways a run ends early, the exit code of each, and the hint that a message ends with."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad usage, config or data; shown as one short message, exit code 2."""


class TrainingFailed(Exception):  # noqa: N818 - it reads as the event it is
    """Training cannot go on, with the metric and the update named; exit code 1."""


class Interrupted(Exception):  # noqa: N818
    """A signal arrived and the state is saved; exit code 128 + the signal's number."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum


def did_you_mean(word: object, words: Iterable[str], cutoff: float = 0.6) -> str:
    """The end of a message: the nearest valid word, or nothing where none is near.

    >>> did_you_mean("adm", ["adam", "rmsprop"])
    '; did you mean adam?'
    """
    close = difflib.get_close_matches(str(word), list(words), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""
