"""A training that is killed by SIGKILL, in the middle of saves too, ends as one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.run.compare import run_differences

ROOT = Path(__file__).parents[3]
KILLS = 24

CONFIG = """
task: {name: adding, length: 6}
model: {hidden_size: 4}
train: {batch_size: 4, updates: 4000, log_every: 10, eval_every: 50, checkpoint_every: 50,
        stop_when: never}
eval: {sequences: 20, batch_size: 10}
seeds: 2
"""

# Forks a training for each line that it reads, so that Python and JAX are imported once only.
SERVER = """
import os, sys
import experiments.training.training_loop, experiments.commands.train
from experiments.__main__ import main
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(os.open(line.strip() + ".log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        os.dup2(2, 1)
        os._exit(main(["train", sys.argv[1], "--workdir", line.strip()]))
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


@pytest.fixture
def server(tmp_path):
    (tmp_path / "killed.yaml").write_text(CONFIG)
    command = [sys.executable, "-c", SERVER, str(tmp_path / "killed.yaml")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:  # fmt: skip
        yield process
        process.terminate()


def start(server, path):
    """Start a training, and return its process."""
    server.stdin.write(f"{path}\n")
    server.stdin.flush()
    return int(server.stdout.readline())


def wait(server):
    """The status with which the training ended."""
    return int(server.stdout.readline())


def size(path):
    return path.stat().st_size if path.exists() else 0


def wait_for(condition, pid):
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        os.kill(pid, 0)  # raises if it has ended


def is_saving(path):
    try:
        return any(".tmp-" in name for name in os.listdir(path / "checkpoints"))
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_run_killed_at_random_ends_as_if_it_had_not(tmp_path, server):
    whole, killed, draw = tmp_path / "whole", tmp_path / "killed", random.Random(0)
    start(server, whole)
    assert wait(server) == 0
    in_a_save = 0
    for number in range(KILLS):
        pid = start(server, killed)
        before = size(killed / "metrics.jsonl")
        if number % 8 == 7:
            time.sleep(draw.uniform(0, 1))  # while it starts
        else:
            # It has resumed, and trains: the file was cut to the checkpoint before.
            wait_for(lambda: size(killed / "metrics.jsonl") not in (0, before), pid)  # noqa: B023
            if number % 2:
                wait_for(lambda: is_saving(killed), pid)
            time.sleep(draw.uniform(0, 0.01 if number % 2 else 0.1))
        in_a_save += is_saving(killed)
        os.kill(pid, signal.SIGKILL)
        assert wait(server) == signal.SIGKILL
    assert in_a_save > 0
    start(server, killed)
    assert wait(server) == 0, Path(f"{killed}.log").read_text()
    assert run_differences(whole, killed) == []
    log = Path(f"{killed}.log").read_text()
    assert "Traceback" not in log
    assert "damaged" not in log
