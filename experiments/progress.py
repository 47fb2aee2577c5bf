"""How a run shows itself: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class Reporter(Protocol):
    """Shows how far a run is; a context manager."""

    def __enter__(self) -> "Reporter":
        """Start."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        ...

    def show(self, update: int, loss: str, metrics: str | None) -> None:
        """Report the updates done, the loss, and the metrics where there was an evaluation."""
        ...


class Pace:
    """Updates a second since the start, and the time that the rest takes."""

    def __init__(self, start: int, total: int) -> None:
        self.start, self.total = start, total
        self.began = time.perf_counter()

    def __call__(self, update: int) -> str:
        """The pace as text.

        >>> pace = Pace(start=0, total=100)
        >>> pace(0)
        ''
        """
        done, seconds = update - self.start, time.perf_counter() - self.began
        if done < 1:
            return ""
        left = (self.total - update) * seconds / done
        return f"{done / seconds:.0f} updates/s, at most {duration(left)} left"


class Bar:
    """A progress bar with the loss, the metrics, the pace and the time left."""

    def __init__(self, name: str, start: int, total: int) -> None:
        self.pace = Pace(start, total)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TextColumn("[dim]{task.fields[pace]}"),
            console=Console(stderr=True),
        )
        self.metrics = ""
        self.task = self.progress.add_task(name, total=total, completed=start, text="", pace="")

    def __enter__(self) -> "Bar":
        """Start drawing."""
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bar as it stands."""
        self.progress.stop()

    def show(self, update: int, loss: str, metrics: str | None) -> None:
        """Move the bar; the metrics of the last evaluation stay in sight."""
        self.metrics = metrics or self.metrics
        text = f"{loss}  {self.metrics}"
        self.progress.update(self.task, completed=update, text=text, pace=self.pace(update))


class Lines:
    """A plain line at every evaluation."""

    def __init__(self, name: str, start: int, total: int) -> None:
        self.name, self.total = name, total
        self.pace = Pace(start, total)

    def __enter__(self) -> "Lines":
        """Start."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to clean up."""

    def show(self, update: int, loss: str, metrics: str | None) -> None:
        """Print a line."""
        if metrics is not None:
            print(
                f"{self.name}  {update}/{self.total}  {loss}  {metrics}  {self.pace(update)}",
                file=sys.stderr,
                flush=True,
            )


def make_reporter(name: str, start: int, total: int) -> Reporter:
    """A bar where stderr is a terminal, plain lines where it is not."""
    return (Bar if sys.stderr.isatty() else Lines)(name, start, total)


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(12.34), duration(75), duration(3700)
    ('12.3 s', '1:15 min', '1:01:40 h')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"
