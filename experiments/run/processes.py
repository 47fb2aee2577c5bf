"""Steps that all processes of a run take together; one process alone takes them as they are."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.errors import TrainingFailed


def is_first() -> bool:
    """Whether this process is the one that writes the files of the run."""
    return jax.process_index() == 0


def say(line: str) -> None:
    """Print a line to stderr, in the first process alone."""
    if is_first():
        print(line, file=sys.stderr)


@contextmanager
def together() -> Iterator[None]:
    """Run a block in every process; each leaves it once all have ended it.

    Raises:
      TrainingFailed: if the block failed in another process.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # whatever it is, the other processes must not wait for ever
        failure = error
    failed = gathered(np.asarray(failure is not None))
    if failure is None and failed.any():
        failure = TrainingFailed(f"process {failed.argmax()} of this run failed; it says why")
    if failure is not None:
        raise in_all(failure)


def in_all(error: Exception) -> Exception:
    """Mark an error that every process of the run raises, so that all of them end together."""
    error.in_all_processes = True  # type: ignore[attr-defined]
    return error


def gathered(value: np.ndarray) -> np.ndarray:
    """The values of all processes, in their order along a new first axis."""
    if jax.process_count() == 1:
        return value[None]
    return np.asarray(multihost_utils.process_allgather(value))


def of_first(value: int) -> int:
    """The number that the first process passes, in every process."""
    # As bytes: without x64, JAX has no integers of 64 bits.
    as_bytes = np.frombuffer(value.to_bytes(8, "little", signed=True), np.uint8)
    return int.from_bytes(gathered(as_bytes)[0].tobytes(), "little", signed=True)
