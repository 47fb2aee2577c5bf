"""A worker seen from outside: start it, ask it, end it."""

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

from experiments.bench.implementations import Implementation

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 600.0
SCRUBBED = ("JAX_", "LSTM_JAX_", "MALLOC_")
"""What the names of variables begin with that workers do not inherit."""
_FAREWELL_SECONDS = 5.0


class WorkerEnded(Exception):  # noqa: N818 - it reads as the event it is
    """A worker is gone, with the last that it said."""


class WorkerProcess:
    """One implementation's process; nothing is waited for yet.

    Args:
      implementation: what runs there.
      device: ``"cpu"`` or ``"gpu"``.
      threads: threads to use.
    """

    def __init__(self, implementation: Implementation, device: str, threads: int) -> None:
        # A file, as a pipe that nobody reads would block the worker.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        # Its own session, so that Ctrl-C reaches only who started it, who ends it.
        self._process = subprocess.Popen(
            command(implementation),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env=environment(implementation, device),
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._setup = {"device": device, "threads": threads}

    def begin(self) -> dict[str, Any]:
        """What the worker says of itself once everything is imported.

        Raises:
          WorkerEnded: when it does not come so far.
        """
        return self.ask(self._setup)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Its answer to a request.

        Args:
          request: a line for it, as JSON.

        Raises:
          WorkerEnded: when it ends, says something else, or takes too long.
        """
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=MOST_SECONDS)
        except queue.Empty:
            raise WorkerEnded(f"no answer within {MOST_SECONDS:.0f} s") from None
        if line is None:
            raise WorkerEnded(self._last_words())
        try:
            return json.loads(line)
        except ValueError:
            raise WorkerEnded(f"no answer, but {line.strip()}") from None

    def end(self, *, at_once: bool = False) -> None:
        """End the worker.

        Args:
          at_once: without waiting for it to finish.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.close()
        if not at_once:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_FAREWELL_SECONDS)
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

    def _last_words(self) -> str:
        try:
            code = self._process.wait(_FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its answers and went on"
        self._errors.seek(0)
        text = self._errors.read().decode("utf-8", "replace")
        said = [line.strip() for line in text.splitlines() if line.strip()]
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"ended by {signal.Signals(-code).name}"
        return f"{said[-1]} ({how})" if said else how


def command(implementation: Implementation) -> list[str]:
    """The command that starts a worker.

    Args:
      implementation: what runs there.
    """
    return [sys.executable, "-m", "experiments.bench.worker", implementation.name]


def environment(implementation: Implementation, device: str) -> dict[str, str]:
    """The variables of a worker's process: none that changes what is measured but the suite's own.

    Args:
      implementation: what runs there.
      device: ``"cpu"`` or ``"gpu"``.
    """
    # Several processes share the GPU's memory, so none may take it all beforehand.
    jax = (
        {"JAX_PLATFORMS": "cpu"} if device == "cpu" else {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    )
    others = {name: os.environ[name] for name in os.environ if not name.startswith(SCRUBBED)}
    return {**others, **jax, **implementation.environment}
