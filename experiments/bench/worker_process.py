"""The process of a worker: start it, send requests, end it."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.bench.implementation import Implementation

ROOT = Path(__file__).parents[2]
MAX_SECONDS = 600.0
"""Timeout of a request."""
SCRUBBED = ("JAX_", "LSTM_JAX_", "MALLOC_")
"""Prefixes of environment variables that workers do not inherit."""
_EXIT_SECONDS = 5.0


class WorkerEnded(Exception):  # noqa: N818 - the name describes the event
    """A worker ended or failed to answer; contains its last line of stderr."""


class WorkerProcess:
    """The process of one implementation; the constructor does not wait for it.

    Args:
      implementation: the implementation.
      device: ``"cpu"`` or ``"gpu"``.
      threads: number of threads.
    """

    def __init__(self, implementation: Implementation, device: str, threads: int) -> None:
        # A pipe that nobody reads would block the worker, so stderr goes to a file.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        # In its own session Ctrl-C does not reach the worker; the coordinator ends it.
        self._process = subprocess.Popen(
            worker_command(implementation),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env=worker_environment(implementation, device),
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._setup = {"device": device, "threads": threads}

    def begin(self) -> dict[str, Any]:
        """Wait until the worker has imported its library.

        Returns:
          The report of the worker: versions and device.

        Raises:
          WorkerEnded: if the worker ends before.
        """
        return self.ask(self._setup)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Args:
          request: the request, sent as a line of JSON.

        Raises:
          WorkerEnded: if the worker ends, prints something else, or exceeds the timeout.
        """
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=MAX_SECONDS)
        except queue.Empty:
            raise WorkerEnded(f"no answer within {MAX_SECONDS:.0f} s") from None
        if line is None:
            raise WorkerEnded(self._exit_reason())
        try:
            return json.loads(line)
        except ValueError:
            raise WorkerEnded(f"no answer, but {line.strip()}") from None

    def end(self, *, at_once: bool = False) -> None:
        """End the worker.

        Args:
          at_once: kill the process without waiting.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.close()
        if not at_once:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_EXIT_SECONDS)
        process.kill()
        process.wait()
        self._reader.join()
        process.stdout.close()
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _exit_reason(self) -> str:
        """The last line of stderr, and the exit code or signal."""
        try:
            code = self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its output but did not end"
        self._errors.seek(0)
        text = self._errors.read().decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"ended by {signal.Signals(-code).name}"
        return f"{lines[-1]} ({how})" if lines else how


def worker_command(implementation: Implementation) -> list[str]:
    """The command that starts a worker.

    Args:
      implementation: the implementation.
    """
    return [sys.executable, "-m", "experiments.bench.worker", implementation.name]


def worker_environment(implementation: Implementation, device: str) -> dict[str, str]:
    """The environment of a worker, without inherited variables that change the measurements.

    Args:
      implementation: the implementation.
      device: ``"cpu"`` or ``"gpu"``.
    """
    # Several processes share the memory of the GPU, so none may preallocate it.
    jax = (
        {"JAX_PLATFORMS": "cpu"} if device == "cpu" else {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    )
    inherited = {name: os.environ[name] for name in os.environ if not name.startswith(SCRUBBED)}
    return {**inherited, **jax, **implementation.environment}
