"""How several processes, on one or many machines, join to train one run: by `jax.distributed`.

Processes are started by whatever starts processes there: by hand, by ``srun``, by ``mpirun``. Each
computes the same program on its own devices. Process 0 writes the files of the run.
"""

import atexit
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from experiments.errors import Interrupted, TrainingFailed, UserError
from experiments.streams import separate_streams

FLAGS = ("coordinator", "processes", "process_id", "distributed", "heartbeat_seconds")
LAUNCHERS = {
    "SLURM": ("SLURM_STEP_NODELIST", "SLURM_NTASKS"),
    "Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
}
"""By launcher, a variable that every process has, and that of the number of processes."""

PEER_SIGNS = ("Gloo", "NCCL", "nccl", "coordination", "Connection closed", "Connection reset")
_ENDED = "another process of this run ended, or cannot be reached"
_RESUME = "what was saved is intact; run the same command again to resume"


@dataclass(frozen=True)
class Processes:
    """Which processes join.

    Args:
      coordinator: host and port of process 0, ``"host:port"``; None for JAX to find out.
      count: the number of processes, or None.
      index: the number of this one, from 0, or None.
      heartbeat_seconds: how long a process can be silent before the others stop.
    """

    coordinator: str | None = None
    count: int | None = None
    index: int | None = None
    heartbeat_seconds: int = 100


def take_processes(flags: MutableMapping[str, Any]) -> Processes | None:
    """The processes that flags or a launcher ask for; the flags are removed from the mapping.

    Args:
      flags: values by name.

    Returns:
      The processes, or None for this one alone.

    Raises:
      UserError: if the flags do not fit together.

    >>> take_processes({"coordinator": "node1:4321", "processes": 2, "process_id": 1})
    Processes(coordinator='node1:4321', count=2, index=1, heartbeat_seconds=100)
    """
    given = {name: flags.pop(name) for name in FLAGS if name in flags}
    how = given.get("distributed")
    if how not in (None, "auto", "none"):
        raise UserError(f"--distributed: must be auto or none; got {how}")
    heartbeat = given.get("heartbeat_seconds", 100)
    if not _is_count(heartbeat, 10):
        raise UserError(f"--heartbeat_seconds: must be a whole number from 10; got {heartbeat}")
    names = [name for name in FLAGS[:3] if name in given]
    if names and how is not None:
        raise UserError(f"--{names[0]}: excludes --distributed {how}")
    if names:
        if missing := [name for name in FLAGS[:3] if name not in given]:
            raise UserError(f"--{missing[0]}: is missing beside --{names[0]}")
        coordinator, count, index = (given[name] for name in FLAGS[:3])
        host, _, port = str(coordinator).rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise UserError(f"--coordinator: must be host:port of process 0; got {coordinator}")
        if not _is_count(count, 1):
            raise UserError(f"--processes: must be a whole number from 1; got {count}")
        if not _is_count(index, 0) or index >= count:
            raise UserError(f"--process_id: must be from 0 to {count - 1}; got {index}")
        return Processes(coordinator, count, index, heartbeat) if count > 1 else None
    if how == "auto" or (how is None and launcher() is not None):
        return Processes(heartbeat_seconds=heartbeat)
    return None


def launcher() -> str | None:
    """What has started this process as one of several, or None."""
    for name, (variable, count) in LAUNCHERS.items():
        if variable in os.environ and os.environ.get(count, "1") not in ("", "1"):
            return name
    return None


@contextmanager
def joined(processes: Processes | None) -> Iterator[None]:
    """Join the other processes while the block runs; do so before JAX computes anything.

    A failure of this process alone ends it without waiting for the others, so that they notice.

    Args:
      processes: which processes; None for this one alone.

    Raises:
      UserError: if the processes are not found.
      TrainingFailed: if another process ended.
    """
    if processes is None:
        yield
        return
    _join(processes)
    import jax

    try:
        yield
    except Exception as error:
        if not isinstance(error, UserError | TrainingFailed | Interrupted) and any(
            sign in str(error) for sign in PEER_SIGNS
        ):
            error = TrainingFailed(f"{_ENDED} ({_here(jax)} stops); {_RESUME}")
        if not getattr(error, "in_all_processes", False):
            # This runs before what JAX does at exit, which waits for all processes.
            atexit.register(_leave, exit_code(error), jax.process_index() == 0)
        raise error from None if isinstance(error, TrainingFailed) else error.__cause__


def exit_code(error: BaseException) -> int:
    """The exit code of a process that an error ends.

    >>> exit_code(Interrupted(15, "")), exit_code(UserError()), exit_code(ValueError())
    (143, 2, 1)
    """
    if isinstance(error, Interrupted):
        return 128 + error.signum
    return 2 if isinstance(error, UserError) else 1


def _join(processes: Processes) -> None:
    # JAX sets the variable to 1 where it is not set.
    quiet = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1"
    if quiet:
        separate_streams()
    import jax

    # A signal is noticed by this process itself, see `experiments.training.signals`.
    jax.config.update("jax_enable_preemption_service", False)
    where = f" at {processes.coordinator}" if processes.coordinator else ""
    number = "" if processes.index is None else f" {processes.index} of {processes.count}"
    print(f"process{number} joins the others{where}", file=sys.stderr)
    try:
        jax.distributed.initialize(
            processes.coordinator,
            processes.count,
            processes.index,
            cluster_detection_method="deactivate" if processes.coordinator else None,
            heartbeat_timeout_seconds=processes.heartbeat_seconds,
        )
    except (RuntimeError, ValueError, TypeError, OSError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"the processes cannot join: {reason:.200}. Name them by --coordinator host:port,"
            " --processes and --process_id, or start each alone with --distributed none"
        ) from None
    _end_cleanly_on_abort(_here(jax), quiet)


def _here(jax: Any) -> str:
    return f"process {jax.process_index()} of {jax.process_count()}"


def _leave(code: int, first: bool) -> None:
    """End this process at once; the first, with which the others are connected, a moment later."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if first:
        time.sleep(1.0)
    os._exit(code)


def _end_cleanly_on_abort(here: str, quiet: bool) -> None:
    """Say why, and exit with 1, where JAX aborts this process because another one is gone.

    JAX aborts it by a signal in a thread of its own, while Python waits for the devices, so that a
    handler of Python would not run.
    """
    hint = "; TF_CPP_MIN_LOG_LEVEL=0 shows what JAX says" if quiet else ""
    line = f"failed: {_ENDED} ({here} stops); {_RESUME}{hint}\n".encode()

    def end(signum: int) -> None:
        del signum
        os.write(sys.stderr.fileno(), line)
        os._exit(1)

    global _on_abort
    _on_abort = ctypes.CFUNCTYPE(None, ctypes.c_int)(end)
    ctypes.CDLL(None).signal(int(signal.SIGABRT), _on_abort)


_on_abort: Any = None


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
