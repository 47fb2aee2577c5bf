"""``python -m experiments bench``: measure a suite, then write its result, page and picture."""

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.bench import results
from experiments.bench.arguments import measuring_flags, parse, plan
from experiments.bench.coordinator import Turn, measure
from experiments.bench.folder import Folder
from experiments.bench.pages import for_terminal
from experiments.bench.suites import make_suite
from experiments.commands.listing import relative
from experiments.errors import UserError
from experiments.numbers import duration
from experiments.run import environment


def bench_command(words: list[str]) -> int:
    """``bench [--suite S] [--against A,B] [--rounds N] [--cases C,D] [--out FOLDER] ...``."""
    arguments = parse(words)
    folder = Folder(None if arguments.out is None else Path(arguments.out))
    if arguments.render:
        return render_pages(folder, arguments.suite)
    cores = environment.machine()["cores"]
    suite, implementations, rounds = plan(arguments, make_suite(arguments.suite or "cpu", cores))
    folder.make()
    with show_turns(suite.name) as show:
        measured = measure(suite, implementations, rounds, cores, show)
    command = shlex.join(["python", "-m", "experiments", "bench", *measuring_flags(arguments)])
    conditions = results.conditions(suite, measured, command, rounds)
    result = results.build(suite, implementations, measured, conditions)
    print(for_terminal(result))
    if not results.anything_measured(result):
        print("failed: nothing could be measured, so nothing was written", file=sys.stderr)
        return 1
    results.write(result, folder.result(suite.name))
    print("\n".join(["", str(relative(folder.result(suite.name))), *folder.render(result)]))
    return 0


def render_pages(folder: Folder, suite: str | None) -> int:
    """Write pages and pictures again from the results in a folder.

    Args:
      folder: the folder.
      suite: the name of a suite, or None for all suites with a result.

    Returns:
      The exit code.

    Raises:
      UserError: if there is no result.
    """
    for name in [suite] if suite else folder.suites():
        path = folder.result(name)
        if not path.exists():
            command = f"python -m experiments bench --suite {name}"
            raise UserError(f"{relative(path)}: no such result; measure it with {command}")
        print("\n".join(folder.render(results.read(path))))
    return 0


@contextmanager
def show_turns(name: str) -> Iterator[Callable[[Turn], None]]:
    """A line on the terminal with the current measurement and the estimated time left.

    Args:
      name: the name of the suite.
    """
    start = time.monotonic()

    def show(turn: Turn) -> None:
        if not sys.stderr.isatty():
            return
        left = ""
        # The first round also imports and compiles, so it gives no estimate.
        if turn.round > 1:
            seconds = (time.monotonic() - start) * (turn.total - turn.done) / turn.done
            left = f", {duration(seconds)} left"
        line = (
            f"{name}: round {turn.round} of {turn.rounds}, {turn.job.case.name}"
            f" {turn.job.quantity}, {turn.job.implementation}{left}"
        )
        print(f"\r\x1b[K{line[:99]}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
