"""A training by several processes of this machine, over loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT = 300
"""Seconds after which a process hangs; on a quiet machine they take 10."""

Ended = list[tuple[int, str]]
"""The exit code and stderr of every process."""


def start(config: Path, workdir: Path, count: int, *flags: str) -> list[subprocess.Popen[str]]:
    """Start ``train`` in as many processes, each with one device."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"XLA_FLAGS": one_device(os.environ.get("XLA_FLAGS", ""))}
    command = [sys.executable, "-m", "experiments", "train", str(config), "--workdir", str(workdir)]
    several = ["--coordinator", f"127.0.0.1:{port}", "--processes", str(count)]
    several += ["--heartbeat_seconds", "10"]
    return [
        subprocess.Popen(
            [*command, *flags, *([*several, "--process_id", str(index)] if count > 1 else [])],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]


def end(processes: Sequence[subprocess.Popen[str]]) -> Ended:
    """Wait for all processes; one that hangs is killed, and has no exit code of its own."""
    ended = []
    try:
        for process in processes:
            _, errors = process.communicate(timeout=LIMIT)
            ended.append((process.returncode, errors))
    finally:
        for process in processes:
            process.kill()
    return ended


def send(
    processes: Sequence[subprocess.Popen[str]],
    to: int,
    signum: signal.Signals,
    when: Callable[[], bool],
) -> Ended:
    """Send a signal to one process once something has happened, and wait for all."""
    wait_until(when, processes)
    processes[to].send_signal(signum)
    return end(processes)


def wait_until(when: Callable[[], bool], processes: Sequence[subprocess.Popen[str]]) -> None:
    """Wait until something has happened, while all processes run."""
    began = time.monotonic()
    while not when() and all(process.poll() is None for process in processes):
        assert time.monotonic() - began < LIMIT
        time.sleep(0.01)


def one_device(flags: str) -> str:
    """Flags of XLA without simulated devices."""
    name = "--xla_force_host_platform_device_count"
    return " ".join(flag for flag in flags.split() if not flag.startswith(name))
