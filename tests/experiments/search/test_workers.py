"""Several workers on one study: processes that end in every way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from experiments.run.workdir import Workdir
from experiments.search.spec import read_search
from experiments.search.study import open_study

ROOT = Path(__file__).parents[3]
FILE = """
config:
  task: {name: adding, length: 4}
  model: {hidden_size: 2}
  train: {batch_size: 4, updates: UPDATES, log_every: 2, eval_every: 10, checkpoint_every: 10}
  eval: {sequences: 10, batch_size: 10}
set: {train.stop_when: never}
search:
  optimizer.learning_rate: {low: 1.0e-4, high: 1.0e-1, log: true}
  optimizer.b1: {low: 0.5, high: 0.9}
pruner: none
"""
# A shell starts what runs in the background with SIGINT ignored, and so it would stay.
WITH_SIGINT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
pytestmark = pytest.mark.slow


class Search:
    """A search in a process of its own, and what its study says."""

    def __init__(self, folder, updates=20, storage=None):
        self.file, self.folder, self.storage = folder / "tiny.yaml", folder / "out", storage
        self.file.write_text(FILE.replace("UPDATES", f"{updates}"))
        self.folder.mkdir(exist_ok=True)

    def start(self, *flags, workers=2):
        words = [str(self.file), "--workdir", str(self.folder), "--workers", f"{workers}", *flags]
        words += ["--storage", self.storage] if self.storage else []
        command = [sys.executable, "-c", WITH_SIGINT, "-m", "experiments", "search", *words]
        return subprocess.Popen(
            [*command, "--no-figures"],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def trials(self):
        return open_study(read_search(self.file), self.folder, self.storage).trials

    def states(self):
        return [trial.state.name for trial in self.trials]

    def owners(self, state=None):
        """The processes that trained the trials."""
        return {
            trial.user_attrs["owner"]["pid"]
            for trial in self.trials
            if "owner" in trial.user_attrs and state in (None, trial.state.name)
        }

    def training(self, count):
        """The processes, once so many of them are in the middle of a trial."""
        for _ in range(1200):
            pids = {
                trial.user_attrs["owner"]["pid"]
                for trial in self.trials
                if trial.state.name == "RUNNING" and trial.intermediate_values
            }
            if len(pids) >= count:
                return pids
            time.sleep(0.1)
        raise AssertionError("no trial has begun")


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_for_end(pids):
    for _ in range(600):
        if not any(map(is_alive, pids)):
            return
        time.sleep(0.1)
    raise AssertionError(f"{pids} go on")


@pytest.mark.parametrize("is_database", [False, True])
def test_two_workers_share_the_trials_of_one_study(tmp_path, is_database):
    storage = f"sqlite:///{tmp_path}/study.db" if is_database else None
    search = Search(tmp_path, storage=storage)
    process = search.start("--trials", "6")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert search.states().count("COMPLETE") == 6
    assert set(search.states()) <= {"COMPLETE", "FAIL"}
    complete = [trial for trial in search.trials if trial.state.name == "COMPLETE"]
    assert len({trial.params["optimizer.b1"] for trial in complete}) == 6
    for trial in complete:
        workdir = Workdir.existing(search.folder / "trials" / f"{trial.number}")
        assert workdir.summary()["updates"] == [20]
    assert "6 trials complete" in out
    assert (search.folder / "study.journal").exists() != is_database
    assert not any(map(is_alive, search.owners()))


def test_the_trial_of_a_killed_worker_is_trained_to_its_end(tmp_path):
    search = Search(tmp_path, updates=1000)
    process = search.start("--trials", "3")
    victim, *_ = search.training(1)
    os.kill(victim, signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert search.states().count("COMPLETE") == 3
    assert "was killed" in err
    killed = [t for t in search.trials if t.state.name == "FAIL" and t.params]
    assert len(killed) == 1
    again = [t for t in search.trials if t.params == killed[0].params][-1]
    assert again.state.name == "COMPLETE"
    assert again.user_attrs["resumes"] == [killed[0].number]
    # The other worker has trained all that was asked for.
    assert process.returncode == 0
    assert (search.folder / "best.json").exists()
    assert search.states().count("COMPLETE") == 3


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_workers_and_the_search_goes_on(tmp_path, signum):
    search = Search(tmp_path, updates=1000)
    process = search.start("--trials", "2")
    search.training(1)
    process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert err.count("stopping; a second signal") == 1
    assert not any(map(is_alive, search.owners()))
    process = search.start("--trials", "2")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert search.states().count("COMPLETE") == 2
    assert 1 <= search.states().count("FAIL") <= 2


def test_no_worker_outlives_the_process_that_started_it(tmp_path):
    search = Search(tmp_path, updates=100_000)
    process = search.start("--trials", "2")
    pids = search.training(2)
    process.kill()
    process.communicate(timeout=60)
    wait_for_end(pids)
