"""Signals: a stopped run saves its state, and the same command resumes it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.config.file import dump_config
from experiments.config.model import model_config
from experiments.config.schema import Config, EvalConfig, TrainConfig
from experiments.tasks import Adding
from experiments.training.signals import catch_signals

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_is_caught_and_handlers_are_restored(signum, capfd):
    before = signal.getsignal(signum)
    with catch_signals() as caught:
        assert not caught
        os.kill(os.getpid(), signum)
        assert caught.signum == signum
        assert signal.getsignal(signum) == signal.SIG_DFL
    assert signal.getsignal(signum) is before
    assert "a second signal ends the run at once" in capfd.readouterr().err


def test_ctrl_c_saves_and_exits_130_and_the_same_command_resumes(tmp_path):
    config = Config(
        task=Adding(length=6),
        model=model_config(hidden_size=4),
        train=TrainConfig(
            batch_size=4,
            updates=100_000_000,
            log_every=10,
            eval_every=20,
            checkpoint_every=10_000_000,
            stop_when="never",
        ),
        eval=EvalConfig(sequences=20, batch_size=10),
        seeds=2,
    )
    path = tmp_path / "long.yaml"
    path.write_text(dump_config(config))
    command = [
        sys.executable,
        "-m",
        "experiments",
        "train",
        str(path),
        "--workdir",
        str(tmp_path / "run"),
    ]
    metrics = tmp_path / "run" / "metrics.jsonl"

    def interrupt_after(lines):
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 120
        while not metrics.exists() or len(metrics.read_text().splitlines()) < lines:
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        return process.returncode, err

    code, err = interrupt_after(5)
    assert code == 130
    assert "the state is saved" in err
    assert "Traceback" not in err
    count = len(metrics.read_text().splitlines())
    code, _ = interrupt_after(count + 5)
    assert code == 130
    updates = [json.loads(line)["update"] for line in metrics.read_text().splitlines()]
    assert updates == list(range(10, 10 * len(updates) + 10, 10))
