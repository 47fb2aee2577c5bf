"""A worker: measures one implementation in its own process, and answers in lines of JSON.

``python -m experiments.bench.worker NAME`` first reads ``{"device": ..., "threads": ...}``, then
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
from experiments.bench.implementation import Implementation
from experiments.bench.peers import find_implementation
from experiments.bench.runner import Runner, Unavailable


def main(name: str) -> int:
    """Answer requests until stdin is closed.

    Args:
      name: the name of the implementation.

    Returns:
      The exit code.
    """
    # Redirect stdout to stderr, so that output of libraries does not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    first = sys.stdin.readline()
    if not first:
        return 0
    setup = json.loads(first)
    limit_cores(setup["threads"])
    try:
        runner = load_runner(find_implementation(name), setup["device"], setup["threads"])
    except Unavailable as reason:
        answer(unavailable=str(reason))
        return 0
    answer(versions=versions(runner), device=runner.device_name())
    for line in sys.stdin:
        request = json.loads(line)
        try:
            case = Case(**request["case"])
            values = runner.measure(request["quantity"], case, request["budget"])
            answer(values=values, backend=runner.backend(request["quantity"], case))
        except Unavailable as reason:
            answer(unavailable=first_line(reason))
        except Exception as error:
            answer(error=f"{type(error).__name__}: {first_line(error)}".removesuffix(": "))
    return 0


def limit_cores(count: int) -> None:
    """Limit this process to some cores: most libraries start a thread per core.

    Args:
      count: number of cores.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def load_runner(implementation: Implementation, device: str, threads: int) -> Runner:
    """Import the library of an implementation and make its runner.

    Args:
      implementation: the implementation.
      device: ``"cpu"`` or ``"gpu"``.
      threads: number of threads.

    Raises:
      Unavailable: if the library is not installed, or cannot be imported.
    """
    try:
        importlib.import_module(implementation.package)
    except ModuleNotFoundError as error:
        if error.name == implementation.package:
            raise Unavailable("not installed") from error
        raise Unavailable(first_line(error)) from error
    except ImportError as error:
        raise Unavailable(first_line(error)) from error
    module, _, runner = implementation.runner.partition(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), runner)(
        implementation.name, device, threads
    )


def versions(runner: Runner) -> dict[str, str]:
    """The versions of Python and of the runner's packages.

    Args:
      runner: the runner.
    """
    found = {"python": platform.python_version()}
    for package in runner.packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def first_line(error: BaseException) -> str:
    """The first line of an error message that is not empty.

    Args:
      error: the error.
    """
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
