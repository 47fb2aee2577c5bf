"""How a run shows itself: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from experiments.numbers import duration


class Reporter(AbstractContextManager["Reporter", None], Protocol):
    """Shows how far a run is."""

    def show(self, update: int, loss: str, metrics: str | None) -> None:
        """Report the updates done, the loss, and the metrics where there was an evaluation."""
        ...


class Pace:
    """Updates a second and the most time left, counted from the first report on.

    What comes before the first report is mostly compilation, and says nothing about the rest.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.first: tuple[int, float] | None = None

    def __call__(self, update: int, now: float) -> str:
        """The pace as text.

        Args:
          update: updates done.
          now: the time, in seconds.

        >>> pace = Pace(total=100)
        >>> pace(10, now=60.0), pace(30, now=61.0)
        ('', '20 updates/s, 3.5 s left')
        """
        if self.first is None:
            self.first = (update, now)
        done, seconds = update - self.first[0], now - self.first[1]
        if done < 1 or seconds <= 0:
            return ""
        left = (self.total - update) * seconds / done
        return f"{done / seconds:.0f} updates/s, {duration(left)} left"


class Bar:
    """A progress bar with the pace; below it the loss and the metrics of the last evaluation.

    Two lines, so that nothing is cut on a terminal of 80 columns.
    """

    def __init__(self, name: str, start: int, total: int, console: Console | None = None) -> None:
        self.pace, self.metrics = Pace(total), ""
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[pace]}"),
        )
        self.task = self.progress.add_task(name, total=total, completed=start, pace="")
        self.values = Text("  compiling", no_wrap=True, overflow="ellipsis")
        self.live = Live(Group(self.progress, self.values), console=console or Console(stderr=True))

    def __enter__(self) -> "Bar":
        """Start drawing."""
        self.live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bar as it stands."""
        self.live.stop()

    def show(self, update: int, loss: str, metrics: str | None) -> None:
        """Move the bar; the metrics of the last evaluation stay in sight."""
        self.metrics = metrics or self.metrics
        pace = self.pace(update, time.perf_counter())
        self.progress.update(self.task, completed=update, pace=pace)
        self.values.plain = f"  {loss}  {self.metrics}"


class Lines:
    """A plain line at every evaluation, for as long as there is a reader."""

    def __init__(self, name: str, start: int, total: int) -> None:
        del start
        self.name, self.total, self.pace = name, total, Pace(total)
        self.read = True

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
        pace = self.pace(update, time.perf_counter())
        if metrics is None or not self.read:
            return
        line = f"{self.name}  {update}/{self.total}  {loss}  {metrics}  {pace}".rstrip()
        try:
            print(line, file=sys.stderr, flush=True)
        except OSError:
            # Training does not depend on who reads about it.
            self.read = False


def make_reporter(name: str, start: int, total: int) -> Reporter:
    """A bar where stderr is a terminal, plain lines where it is not."""
    return (Bar if sys.stderr.isatty() else Lines)(name, start, total)
