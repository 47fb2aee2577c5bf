"""Signals that let a run save its state before it ends."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


class Caught:
    """The signal that asked the run to stop, if one did."""

    signum: int | None = None

    def __bool__(self) -> bool:
        """Whether a signal arrived."""
        return self.signum is not None


@contextmanager
def caught_signals() -> Iterator[Caught]:
    """Note the first SIGINT, SIGTERM or SIGHUP instead of dying of it; a second one ends all."""
    caught = Caught()
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    watched = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {signum: signal.getsignal(signum) for signum in watched}

    def note(signum: int, frame: FrameType | None) -> None:
        del frame
        caught.signum = signum
        # Written past any buffer that the signal may have interrupted.
        with suppress(OSError):
            os.write(2, b"\nstopping after this dispatch; once more to end at once\n")
        for each in watched:
            signal.signal(each, signal.SIG_DFL)

    for signum in watched:
        signal.signal(signum, note)
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
