"""Signal handling: a run saves its state before it stops."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import numpy as np

from experiments.errors import Interrupted
from experiments.run import processes

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
SHOW_CURSOR = b"\x1b[?25h"


class CaughtSignal:
    """The signal that arrived, if one did.

    Attributes:
      signum: its number, or None.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._message: str | None = None

    def __bool__(self) -> bool:
        """Whether a signal arrived."""
        return self.signum is not None

    def arrive(self, signum: int) -> None:
        """Record a signal; inside of `stops_at_once`, stop.

        Raises:
          Interrupted: inside of `stops_at_once`.
        """
        self.signum = signum
        if self._message is not None:
            raise Interrupted(signum, self._message)

    @contextmanager
    def stops_at_once(self, message: str) -> Iterator[None]:
        """While the block runs, a signal ends it: everything that it does can be done again.

        Args:
          message: what the user is told.

        Raises:
          Interrupted: if a signal arrives, or has arrived before.
        """
        self._message = message
        try:
            if self.signum is not None:
                self.arrive(self.signum)
            yield
            if self.signum is not None:
                # The code of the block has caught the exception.
                self.arrive(self.signum)
        finally:
            self._message = None


def agree(caught: CaughtSignal) -> bool:
    """Whether a signal arrived in any process of the run; all call this together."""
    signum = int(processes.gathered(np.asarray(caught.signum or 0)).max())
    if signum and caught.signum is None:
        caught.arrive(signum)
    return signum > 0


def _stderr() -> int:
    """The descriptor of stderr, which is not 2 where several processes train."""
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return 2


def _announce() -> None:
    # os.write does not use the buffer that the signal may have interrupted.
    with suppress(OSError):
        # A second signal leaves no time to show the cursor again, which the bar hides.
        cursor = SHOW_CURSOR if os.isatty(_stderr()) else b""
        os.write(_stderr(), cursor + b"\nstopping; a second signal ends the run at once\n")


@contextmanager
def catch_signals(*, announce: bool = True) -> Iterator[CaughtSignal]:
    """Record the first SIGINT, SIGTERM or SIGHUP; a second signal ends the process.

    Signals that were ignored before, as by ``nohup``, stay ignored.

    Args:
      announce: whether a signal is answered by a line; not in a process that another one started,
        which says it for both.
    """
    caught = CaughtSignal()
    signums = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {signum: signal.getsignal(signum) for signum in signums}
    # None is a handler that was not installed from Python, and cannot be put back.
    before = {n: handler for n, handler in before.items() if handler not in (signal.SIG_IGN, None)}

    def record(signum: int, frame: FrameType | None) -> None:
        del frame
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        if announce:
            _announce()
        caught.arrive(signum)

    for signum in before:
        signal.signal(signum, record)
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
