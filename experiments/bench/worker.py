"""A worker: one implementation in a process of its own, which answers lines of JSON.

``python -m experiments.bench.worker NAME`` reads first ``{"device": ..., "threads": ...}``, then
requests ``{"quantity": ..., "case": {...}, "budget": ...}``, and answers each with one line.
"""

import importlib
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from experiments.bench.cases import Case
from experiments.bench.runner import Runner, Unavailable
from experiments.bench.implementations import Implementation, find_implementation


def main(name: str) -> int:
    """Answer until there are no more requests.

    Args:
      name: the implementation's name.
    """
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    first = sys.stdin.readline()
    if not first:
        return 0
    setup = json.loads(first)
    keep_to_cores(setup["threads"])
    try:
        runner = load(find_implementation(name), setup["device"], setup["threads"])
    except Unavailable as reason:
        answer(unavailable=str(reason))
        return 0
    answer(versions=versions(runner), device=runner.device_name())
    for line in sys.stdin:
        request = json.loads(line)
        try:
            case = Case(**request["case"])
            values = runner.measure(request["quantity"], case, request["budget"])
            answer(values=values, taken=runner.taken(request["quantity"], case))
        except Unavailable as reason:
            answer(unavailable=one_line(reason))
        except Exception as error:
            answer(error=f"{type(error).__name__}: {one_line(error)}".removesuffix(": "))
    return 0


def keep_to_cores(count: int) -> None:
    """Stay on that many cores; libraries take as many threads as there are.

    Args:
      count: how many, at most as many as there are.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def load(implementation: Implementation, device: str, threads: int) -> Runner:
    """Import an implementation.

    Args:
      implementation: which.
      device: ``"cpu"`` or ``"gpu"``.
      threads: threads to use.

    Raises:
      Unavailable: when it is not installed, or cannot be imported.
    """
    try:
        importlib.import_module(implementation.package)
    except ModuleNotFoundError as error:
        if error.name == implementation.package:
            raise Unavailable("not installed") from error
        raise Unavailable(one_line(error)) from error
    except ImportError as error:
        raise Unavailable(one_line(error)) from error
    module, _, runner = implementation.runner.partition(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), runner)(
        implementation.name, device, threads
    )


def versions(runner: Runner) -> dict[str, str]:
    """The versions that matter to an implementation.

    Args:
      runner: the implementation.
    """
    found = {"python": platform.python_version()}
    for package in runner.packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def one_line(error: BaseException) -> str:
    """The first line of a message that says anything.

    Args:
      error: what was raised.
    """
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
