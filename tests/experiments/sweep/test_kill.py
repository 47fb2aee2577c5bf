"""A sweep that is killed at any instant ends as one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.sweeps import SWEEP, contents

ROOT = Path(__file__).parents[3]
KILLS = 8


def start(folder):
    command = [sys.executable, "-m", "experiments", "sweep", str(folder / "sweep.yaml")]
    flags = ["--workdir", str(folder / "out"), "--train.updates", "60", "--no-figures"]
    return subprocess.Popen([*command, *flags], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def files(folder):
    """The files below a folder with their sizes, as far as they can be read while they change."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                found[path, name] = os.stat(Path(path) / name).st_size
            except FileNotFoundError:
                found[path, name] = -1
    return found


def kill_after(changes, process, folder):
    """Kill a process after so many changes of a folder; False if it ends before."""
    before = files(folder)
    while changes:
        if process.poll() is not None:
            process.communicate()
            return False
        time.sleep(0.001)
        now = files(folder)
        changes -= now != before
        before = now
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_kills_at_random_instants_change_nothing(tmp_path):
    for name in ("alone", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sweep.yaml").write_text(SWEEP)
    process = start(tmp_path / "alone")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    rng = random.Random(0)
    kills = sum(
        kill_after(rng.randint(1, 80), start(tmp_path / "killed"), tmp_path / "killed" / "out")
        for _ in range(KILLS)
    )
    assert kills >= KILLS // 2
    process = start(tmp_path / "killed")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert contents(tmp_path / "killed" / "out") == contents(tmp_path / "alone" / "out")
    assert list((tmp_path / "killed" / "out" / "groups").iterdir()) == []
