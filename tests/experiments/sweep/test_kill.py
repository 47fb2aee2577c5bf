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


def start(folder):
    command = [sys.executable, "-m", "experiments", "sweep", str(folder / "sweep.yaml")]
    flags = ["--workdir", str(folder / "out"), "--train.updates", "60", "--no-figures"]
    return subprocess.Popen([*command, *flags], cwd=ROOT, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_kills_at_random_instants_change_nothing(tmp_path):
    for name in ("alone", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sweep.yaml").write_text(SWEEP)
    began = time.monotonic()
    process = start(tmp_path / "alone")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    whole = time.monotonic() - began
    rng, kills = random.Random(0), 0
    for attempt in range(12):
        process = start(tmp_path / "killed")
        try:
            # The first instants are those of the imports, in which nothing can happen.
            process.communicate(timeout=whole * (0.3 + 0.7 * rng.random()) if attempt < 8 else 300)
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
    assert process.returncode == 0
    assert kills >= 2
    assert contents(tmp_path / "killed" / "out") == contents(tmp_path / "alone" / "out")
    assert list((tmp_path / "killed" / "out" / "groups").iterdir()) == []
