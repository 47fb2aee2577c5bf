"""The training loop: results in the workdir, resuming, early stops and failures."""

import dataclasses
import errno
import json
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from experiments.config.file import load_config
from experiments.config.model import model_config
from experiments.config.schema import Config, EvalConfig, TrainConfig
from experiments.errors import Interrupted, TrainingFailed, UserError
from experiments.run.summary import render
from experiments.run.workdir import Workdir
from experiments.tasks import Adding, Copy
from experiments.training.train_step import make_train_functions
from experiments.training.trainer import Trainer
from experiments.training.training_loop import train_run

TINY = Config(
    task=Adding(length=6),
    model=model_config(hidden_size=4),
    train=TrainConfig(
        batch_size=4, updates=60, log_every=10, eval_every=20, checkpoint_every=20,
        stop_when="never",
    ),
    eval=EvalConfig(sequences=20, batch_size=10),
    seeds=2,
)  # fmt: skip


def train(config, path):
    return train_run(config, path, "the command")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run"
    return path, train(TINY, path)


def test_a_run_writes_everything_to_its_workdir(finished):
    path, summary = finished
    assert {p.name for p in path.iterdir()} == {
        ".lock", "config.yaml", "metrics.jsonl", "summary.json", "environment.json", "checkpoints",
        "figures",
    }  # fmt: skip
    assert load_config(path / "config.yaml") == TINY
    assert json.loads((path / "summary.json").read_text()) == summary
    here = json.loads((path / "environment.json").read_text())
    assert here["versions"]["jax"] == jax.__version__
    assert here["python"].startswith("3.")
    assert here["backend"] == "cpu"
    assert here["cores"] >= 1
    assert here["device"]
    commit, dirty = here["git_commit"], here["git_dirty"]
    assert (commit is None and dirty is None) or (len(commit) == 40 and dirty in (True, False))


def test_metrics_have_a_line_per_dispatch_and_a_value_per_seed(finished):
    path, _ = finished
    records = Workdir(path).metrics.read()
    assert [r["update"] for r in records] == [10, 20, 30, 40, 50, 60]
    assert [r["sequences"] for r in records] == [40, 80, 120, 160, 200, 240]
    assert ["validation" in r for r in records] == [False, True] * 3
    assert all(len(r["loss"]) == len(r["grad_norm"]) == 2 for r in records)
    assert set(records[1]["validation"]) == {"mse", "within_0.04"}


def test_summary_has_each_seed_the_mean_and_the_spread(finished):
    _, summary = finished
    mse = summary["test"]["mse"]
    assert len(mse["seeds"]) == 2
    assert mse["mean"] == pytest.approx(np.mean(mse["seeds"]))
    assert mse["std"] == pytest.approx(np.std(mse["seeds"], ddof=1))
    assert summary["sequences"] == [240, 240]
    assert 0 < summary["python_share"] < 1


def test_figures_are_not_empty(finished):
    path, summary = finished
    assert summary["figures"] == [
        f"figures/{name}.png"
        for name in ("error_against_length", "learning_curve", "memory", "predictions")
    ]
    for name in summary["figures"]:
        pixels = matplotlib.image.imread(path / name)
        assert min(pixels.shape[:2]) > 400
        assert pixels[..., :3].std() > 0.02


def test_the_summary_text_is_a_few_lines(finished):
    path, summary = finished
    text = render(summary, path)
    for part in ("adding, length 6", "always answer 1", "0.1667", "updates", "sequences", "±",
                 str(path / "figures/learning_curve.png"), "by 0 of 2 seeds"):  # fmt: skip
        assert part in text
    assert len(text.splitlines()) < 16


def test_a_finished_run_or_another_config_loads_no_data(finished, monkeypatch):
    path, summary = finished

    def load(self):
        raise AssertionError("there is nothing to train")

    monkeypatch.setattr(Adding, "load", load)
    assert train(TINY, path) == summary
    with pytest.raises(UserError, match="another config"):
        train(dataclasses.replace(TINY, seed=5), path)


def test_a_finished_run_is_not_trained_again(finished):
    path, summary = finished
    before = (path / "metrics.jsonl").stat().st_mtime_ns
    assert train(TINY, path) == summary
    assert (path / "metrics.jsonl").stat().st_mtime_ns == before


def test_another_config_in_the_same_workdir_is_an_error(finished):
    path, _ = finished
    before = (path / "config.yaml").read_text()
    other = dataclasses.replace(TINY, seed=5, task=Adding(length=7))
    with pytest.raises(UserError) as caught:
        train(other, path)
    assert "seed: 0, not 5" in str(caught.value)
    assert "task.length: 6, not 7" in str(caught.value)
    assert (path / "config.yaml").read_text() == before


def arrays_at_the_end(path):
    workdir = Workdir.existing(path)
    states, progress = workdir.checkpoints.restore(make_train_functions(TINY).init())
    workdir.checkpoints.close()
    assert progress.update == 60
    return states


@pytest.mark.parametrize("stop_at", [10, 30, 40])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    finished, tmp_path, monkeypatch, stop_at
):
    whole, summary = finished
    advance = Trainer.advance

    def interrupted_advance(self, show):
        advance(self, show)
        if self.progress.update == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "advance", interrupted_advance)
    with pytest.raises(Interrupted) as caught:
        train(TINY, tmp_path)
    assert caught.value.signum == signal.SIGTERM
    assert not (tmp_path / "summary.json").exists()
    monkeypatch.setattr(Trainer, "advance", advance)
    resumed = train(TINY, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert resumed["test"] == summary["test"]
    assert resumed["goals"] == summary["goals"]
    ends = [arrays_at_the_end(path) for path in (whole, tmp_path)]
    jax.tree.map(np.testing.assert_array_equal, *ends)


def test_a_crash_between_checkpoints_resumes_from_the_last_checkpoint(
    finished, tmp_path, monkeypatch
):
    whole, _ = finished
    advance = Trainer.advance

    def crashing_advance(self, show):
        advance(self, show)
        if self.progress.update == 50:
            raise RuntimeError

    monkeypatch.setattr(Trainer, "advance", crashing_advance)
    with pytest.raises(RuntimeError):
        train(TINY, tmp_path)
    # A crash can also truncate the last line.
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"update": 60, "lo')
    monkeypatch.setattr(Trainer, "advance", advance)
    train(TINY, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_every_seed_stops_at_its_own_update(tmp_path, monkeypatch):
    """The goal is between the errors of two seeds, so that one stops and one continues."""
    first = train(TINY, tmp_path / "first")
    curves = [r["validation"]["mse"] for r in Workdir(tmp_path / "first").metrics.read()[1::2]]
    threshold = float(np.mean(curves[0]))
    earlier = int(np.argmin(curves[0]))
    goal = dataclasses.replace(Adding.solved, threshold=threshold)
    monkeypatch.setattr(Adding, "solved", goal)
    config = dataclasses.replace(TINY, train=dataclasses.replace(TINY.train, stop_when="solved"))
    summary = train(config, tmp_path / "second")
    at = summary["goals"]["solved"]["first_at_update"]
    assert at[earlier] == 20 == summary["updates"][earlier]
    assert summary["updates"][1 - earlier] > 20
    records = Workdir(tmp_path / "second").metrics.read()
    assert records[2]["loss"][earlier] is None
    assert records[2]["loss"][1 - earlier] is not None
    assert first["test"]["mse"]["seeds"][earlier] != summary["test"]["mse"]["seeds"][earlier]


def test_figures_that_cannot_be_written_are_a_short_message(finished, tmp_path, monkeypatch):
    path = tmp_path / "run"
    shutil.copytree(finished[0], path)
    (path / "summary.json").unlink()

    def write(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("experiments.run.figures._write", write)
    with pytest.raises(TrainingFailed, match="figures: cannot be written: No space left on device"):
        train(TINY, path)
    assert not (path / "summary.json").exists()


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    workdir = Workdir.of(tmp_path, TINY).begin(TINY)
    with workdir.locked(), pytest.raises(UserError, match="another process is training there"):
        train(TINY, tmp_path)
    train(TINY, tmp_path)


def test_a_failed_start_does_not_block_the_folder(tmp_path):
    Workdir.of(tmp_path, dataclasses.replace(TINY, seed=9)).begin(dataclasses.replace(TINY, seed=9))
    assert train(TINY, tmp_path)["seeds"] == [0, 1]
    assert load_config(tmp_path / "config.yaml") == TINY


def test_training_transfers_no_data_from_the_host():
    functions = make_train_functions(TINY)
    states, active = functions.init(), jnp.ones(2, bool)
    states, _ = functions.train_steps((), states, active, 10)
    with jax.transfer_guard("disallow"):
        functions.train_steps((), states, active, 10)


@pytest.mark.slow
def test_copy_draws_recall(tmp_path):
    config = dataclasses.replace(TINY, task=Copy(delay=3), seeds=1)
    summary = train(config, tmp_path)
    names = ("learning_curve", "memory", "recall")
    assert summary["figures"] == [f"figures/{name}.png" for name in names]
    assert summary["baselines"] == {"memoryless": pytest.approx(10 * np.log(8) / 23)}


@pytest.mark.slow
def test_python_takes_little_of_the_time(tmp_path):
    """Between dispatches the host only logs, so the device waits little.

    Compilation is left out. A checkpoint takes as long as dozens of these tiny updates, so there is
    none here; the configs have a thousand updates between two checkpoints.
    """
    train_config = dataclasses.replace(
        TINY.train, updates=1000, log_every=100, eval_every=500, checkpoint_every=2000
    )
    config = dataclasses.replace(
        TINY,
        task=Adding(length=100),
        model=model_config(hidden_size=64),
        train=train_config,
        seeds=1,
    )
    summary = train(config, tmp_path)
    assert summary["python_share"] < 0.05
