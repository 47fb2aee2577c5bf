"""Signals: a stopped run saves its state, and the same command resumes it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.config.file import dump_config
from experiments.errors import Interrupted
from experiments.training import training_loop
from experiments.training.signals import catch_signals
from experiments.training.trainer import Trainer
from experiments.training.training_loop import train_run
from tests.helpers.small_config import no_figures, small_config

ROOT = Path(__file__).parents[3]

CONFIG = small_config({"train.updates": 20, "seeds": 2})


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


def test_the_cursor_of_a_terminal_is_shown_before_a_second_signal_can_end_the_run(monkeypatch):
    reader, terminal = os.openpty()
    with open(terminal, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with catch_signals():
            os.kill(os.getpid(), signal.SIGTERM)
        assert os.read(reader, 100).startswith(b"\x1b[?25h")
    os.close(reader)


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_was_ignored_stays_ignored(signum):
    """As by ``nohup``, or for a job in the background of a shell script."""
    before = signal.signal(signum, signal.SIG_IGN)
    try:
        with catch_signals() as caught:
            os.kill(os.getpid(), signum)
            assert not caught
            os.kill(os.getpid(), signal.SIGTERM)
            assert caught.signum == signal.SIGTERM
            assert signal.getsignal(signum) == signal.SIG_IGN
        assert signal.getsignal(signum) == signal.SIG_IGN
    finally:
        signal.signal(signum, before)


def test_a_block_that_can_be_done_again_is_left_at_once():
    with catch_signals() as caught:
        with pytest.raises(Interrupted, match="again"), caught.stops_at_once("do it again"):
            os.kill(os.getpid(), signal.SIGTERM)
        assert caught.signum == signal.SIGTERM
        with pytest.raises(Interrupted), caught.stops_at_once("do it again"):
            pytest.fail("the block begins after the signal")


def test_code_that_catches_every_exception_does_not_hide_a_signal():
    with catch_signals() as caught, pytest.raises(Interrupted):  # noqa: SIM117
        with caught.stops_at_once("again"), contextlib.suppress(Exception):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_before_the_first_update_does_not_claim_a_saved_state(tmp_path, monkeypatch):
    def init(self, *arguments):
        original(self, *arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    original = Trainer.__init__
    monkeypatch.setattr(Trainer, "__init__", init)
    with pytest.raises(
        Interrupted, match="stopped before update 1; run the same command"
    ) as caught:
        train_run(CONFIG, tmp_path, "")
    assert caught.value.signum == signal.SIGTERM
    assert "saved" not in str(caught.value)


@pytest.mark.parametrize("during", ["draw_figures", "summarize"])
def test_a_signal_after_the_last_update_stops_and_the_rest_is_done_later(
    tmp_path, monkeypatch, during
):
    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGHUP)

    with monkeypatch.context() as patch:
        patch.setattr(training_loop, during, interrupted)
        with pytest.raises(Interrupted, match="all updates are done and saved") as caught:
            train_run(CONFIG, tmp_path, "")
    assert caught.value.signum == signal.SIGHUP
    assert not (tmp_path / "summary.json").exists()
    before = (tmp_path / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(training_loop, "draw_figures", no_figures)
    assert train_run(CONFIG, tmp_path, "")["updates"] == [20, 20]
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


@pytest.fixture
def start(tmp_path):
    """Starts processes that train for days, all in one workdir; they end with the test."""
    updates, never = 100_000_000, 10_000_000
    fields = {"train.updates": updates, "train.checkpoint_every": never, "seeds": 2}
    path, started = tmp_path / "long.yaml", []
    path.write_text(dump_config(small_config(fields)))
    words = ["-m", "experiments", "train", str(path), "--workdir", str(tmp_path / "run")]

    def start_one(prefix=()):
        started.append(subprocess.Popen(
            [*prefix, sys.executable, *words],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ))  # fmt: skip
        return started[-1]

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def wait_for(tmp_path, process, lines):
    """Wait until the metrics have a number of lines."""
    metrics, deadline = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 120
    while not metrics.exists() or len(metrics.read_text().splitlines()) < lines:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c_saves_and_exits_130_and_the_same_command_resumes(tmp_path, start):
    metrics, count = tmp_path / "run" / "metrics.jsonl", 0
    for _ in range(2):
        process = start()
        wait_for(tmp_path, process, count + 5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 130
        assert "the state is saved" in err
        assert "Traceback" not in err
        count = len(metrics.read_text().splitlines())
    updates = [json.loads(line)["update"] for line in metrics.read_text().splitlines()]
    assert updates == list(range(10, 10 * len(updates) + 10, 10))


@pytest.mark.slow
def test_a_second_ctrl_c_exits_at_once_and_the_run_resumes(tmp_path, start):
    process = start(prefix=("nohup",))
    wait_for(tmp_path, process, 5)
    process.send_signal(signal.SIGHUP)
    wait_for(tmp_path, process, 10)
    # Two signals, the second of which usually meets the save.
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)
    count = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    again = start()
    wait_for(tmp_path, again, count + 5)
    again.send_signal(signal.SIGTERM)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 128 + signal.SIGTERM
    assert "run the same command again to resume" in err
