"""``python -m experiments bench``: from its arguments to a result, a page and a picture."""

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments import environment
from experiments.bench import results
from experiments.bench.arguments import parse, plan, spelled
from experiments.bench.implementations import implementations, ours, peers
from experiments.bench.coordinator import Measured, Turn, measure
from experiments.bench.folder import Folder
from experiments.bench.pages import for_terminal
from experiments.bench.suites import make_suite
from experiments.listing import relative
from experiments.numbers import duration


def bench(words: list[str]) -> int:
    """``bench [--suite S] [--against A,B] [--rounds N] [--cases C,D] [--out FOLDER] ...``."""
    given = parse(words)
    folder = Folder(None if given.out is None else Path(given.out))
    if given.render:
        return render(folder, given.suite)
    cores = environment.machine()["cores"]
    suite, implementations, rounds = plan(given, make_suite(given.suite or "cpu", cores))
    folder.make()
    with progress(suite.name) as show:
        measured = measure(suite, implementations, rounds, cores, show)
    command = shlex.join(["python", "-m", "experiments", "bench", *spelled(given)])
    run = results.about_run(suite, measured, command, rounds)
    result = results.build(suite, implementations, measured, run)
    print(for_terminal(result))
    if not results.anything_measured(result):
        print("failed: nothing could be measured, so nothing was written", file=sys.stderr)
        return 1
    results.write(result, folder.result(suite.name))
    print("\n".join(["", str(relative(folder.result(suite.name))), *folder.render(result)]))
    return 0


def render(folder: Folder, suite: str | None) -> int:
    """Make pages and pictures again from the results at hand.

    Args:
      folder: where they are.
      suite: which; without it, all that the folder is for.
    """
    for name in [suite] if suite else folder.suites():
        path = folder.result(name)
        result = results.read(path) if path.exists() else unmeasured(name)
        folder.make()
        print("\n".join(folder.render(result)))
    return 0


def unmeasured(name: str) -> results.Result:
    """The result of a suite that nobody has run.

    Args:
      name: the suite.
    """
    suite = make_suite(name)
    implementations = [ours(each) for each in suite.own_implementations(implementations())]
    implementations += peers(suite.peers, suite.device, keeps_pages=suite.keeps_pages)
    command = f"python -m experiments bench --suite {name}"
    return results.build(suite, implementations, Measured(), {"command": command, "machine": None})


@contextmanager
def progress(name: str) -> Iterator[Callable[[Turn], None]]:
    """One line on a terminal that says who is at work, and how long it may still take."""
    start = time.monotonic()

    def show(turn: Turn) -> None:
        if not sys.stderr.isatty():
            return
        left = ""
        # The first round also imports and compiles, so it tells little of the others.
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
