"""How a run shows itself: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from experiments.numbers import duration

Show = Callable[[int, str, str | None], None]
"""Reports the updates done, the loss, and the metrics where there was an evaluation."""


def reporter(name: str, start: int, total: int) -> AbstractContextManager[Show]:
    """A bar where stderr is a terminal, plain lines where it is not.

    Args:
      name: what runs.
      start: updates done before.
      total: updates at most.
    """
    return (bar if sys.stderr.isatty() else lines)(name, start, total)


@contextmanager
def bar(name: str, start: int, total: int, console: Console | None = None) -> Iterator[Show]:
    """A progress bar with the pace; below it the loss and the metrics of the last evaluation.

    Two lines, so that nothing is cut on a terminal of 80 columns.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("[dim]{task.fields[pace]}"),
    )
    task = progress.add_task(name, total=total, completed=start, pace="")
    values = Text("  compiling", no_wrap=True, overflow="ellipsis")
    pace, last_metrics = Pace(total), ""

    def show(update: int, loss: str, metrics: str | None) -> None:
        nonlocal last_metrics
        last_metrics = metrics or last_metrics
        progress.update(task, completed=update, pace=pace(update, time.perf_counter()))
        values.plain = f"  {loss}  {last_metrics}"

    with Live(Group(progress, values), console=console or Console(stderr=True)):
        yield show


@contextmanager
def lines(name: str, start: int, total: int) -> Iterator[Show]:
    """A plain line at every evaluation, for as long as there is a reader."""
    del start
    pace, read = Pace(total), True

    def show(update: int, loss: str, metrics: str | None) -> None:
        nonlocal read
        left = pace(update, time.perf_counter())
        if metrics is None or not read:
            return
        try:
            line = f"{name}  {update}/{total}  {loss}  {metrics}  {left}"
            print(line.rstrip(), file=sys.stderr, flush=True)
        except OSError:
            # Training does not depend on who reads about it.
            read = False

    yield show


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
