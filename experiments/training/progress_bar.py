"""The progress display of a run: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

from experiments.numbers import duration

ShowProgress = Callable[[int, str, str | None], None]
"""Displays the number of updates done, the loss, and the metrics after an evaluation."""


def show_progress(name: str, start: int, total: int) -> AbstractContextManager[ShowProgress]:
    """A progress bar if stderr is a terminal, otherwise plain lines.

    Args:
      name: the task and the seeds.
      start: updates done before, if the run resumes.
      total: maximum number of updates.
    """
    return (bar if sys.stderr.isatty() else lines)(name, start, total)


@contextmanager
def bar(
    name: str, start: int, total: int, console: Console | None = None
) -> Iterator[ShowProgress]:
    """A progress bar with the speed; below it, the loss and the metrics of the last evaluation.

    The two lines fit a terminal of 80 columns; a narrower one shows the bar and the counts, and as
    much of the rest as it has room for.
    """
    console = console or Console(stderr=True)
    progress = Progress(*_columns(console.width), console=console)
    task = progress.add_task(name, total=total, completed=start, pace="")
    values = Text("  compiling", no_wrap=True, overflow="ellipsis")
    pace, last_metrics = Pace(total), ""

    def show(update: int, loss: str, metrics: str | None) -> None:
        nonlocal last_metrics
        last_metrics = metrics or last_metrics
        left = pace(update, time.perf_counter(), metrics is not None)
        progress.update(task, completed=update, pace=left)
        values.plain = f"  {loss}  {last_metrics}"

    with Live(Group(progress, values), console=console):
        yield show


def _columns(width: int) -> list[ProgressColumn]:
    """The columns of the bar for a terminal of this width."""
    name = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis"))
    pace = TextColumn("[dim]{task.fields[pace]}", table_column=Column(no_wrap=True))
    counts = MofNCompleteColumn(table_column=Column(no_wrap=True))
    if width >= 72:
        return [name, BarColumn(bar_width=16), counts, pace]
    if width >= 50:
        return [BarColumn(bar_width=8), counts, pace]
    return [BarColumn(bar_width=max(4, width - 22)), counts]


@contextmanager
def lines(name: str, start: int, total: int) -> Iterator[ShowProgress]:
    """A plain line after every evaluation, until the reader closes stderr."""
    del start
    pace, is_open = Pace(total), True

    def show(update: int, loss: str, metrics: str | None) -> None:
        nonlocal is_open
        left = pace(update, time.perf_counter(), metrics is not None)
        if metrics is None or not is_open:
            return
        try:
            line = f"{name}  {update}/{total}  {loss}  {metrics}  {left}"
            print(line.rstrip(), file=sys.stderr, flush=True)
        except OSError:
            # Training continues without a reader.
            is_open = False

    yield show


class Pace:
    """Updates per second and the maximum time left, measured from the first evaluation on.

    Before it is mostly compilation, which is left out.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.first: tuple[int, float] | None = None
        self.evaluated = False

    def __call__(self, update: int, now: float, evaluated: bool) -> str:
        """Format the updates per second and the time left.

        Args:
          update: updates done.
          now: the time, in seconds.
          evaluated: whether the model was evaluated since the call before.

        >>> pace = Pace(total=100)
        >>> pace(10, now=60.0, evaluated=True), pace(30, now=61.0, evaluated=False)
        ('', '20 updates/s, 3.5 s left')
        """
        if self.first is None or (evaluated and not self.evaluated):
            self.first = (update, now)
        self.evaluated = self.evaluated or evaluated
        done, seconds = update - self.first[0], now - self.first[1]
        if done < 1 or seconds <= 0:
            return ""
        left = (self.total - update) * seconds / done
        return f"{done / seconds:.0f} updates/s, {duration(left)} left"
