"""Signal handling: a run saves its state before it stops."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


class CaughtSignal:
    """The number of the signal that arrived, or None."""

    signum: int | None = None

    def __bool__(self) -> bool:
        """Whether a signal arrived."""
        return self.signum is not None


@contextmanager
def catch_signals() -> Iterator[CaughtSignal]:
    """Record the first SIGINT, SIGTERM or SIGHUP; a second signal ends the process."""
    caught = CaughtSignal()
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    signums = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {signum: signal.getsignal(signum) for signum in signums}

    def record(signum: int, frame: FrameType | None) -> None:
        del frame
        caught.signum = signum
        # os.write does not use the buffer that the signal may have interrupted.
        with suppress(OSError):
            os.write(
                2, b"\nstopping after the current updates; a second signal ends the run at once\n"
            )
        for each in signums:
            signal.signal(each, signal.SIG_DFL)

    for signum in signums:
        signal.signal(signum, record)
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
