"""More updates for a run equal, bit for bit, those of a run that had them from the start."""

import json
import shutil

import jax
import numpy as np
import pytest

from experiments.config.file import load_config
from experiments.errors import UserError
from experiments.run.workdir import Workdir
from experiments.training import training_loop
from experiments.training.train_step import make_train_functions
from experiments.training.training_loop import train_run
from tests.helpers.small_config import no_figures, small_config


def of(updates, **fields):
    train = {"updates": updates, "eval_every": 20, "checkpoint_every": 40}
    named = {name.replace("__", "."): value for name, value in fields.items()}
    return small_config({f"train.{name}": value for name, value in train.items()} | named)


CONFIG = of(80)


@pytest.fixture(scope="module", autouse=True)
def _quickly():
    """No figures; and functions that are compiled once, as no number of updates is in them."""
    functions = make_train_functions(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_loop, "make_train_functions", lambda *_, **__: functions)
        patch.setattr(training_loop, "draw_figures", no_figures)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    return path, train_run(CONFIG, path, "")


def state_of(path):
    workdir = Workdir(path)
    restored = workdir.checkpoints.restore(make_train_functions(CONFIG).init())
    assert restored is not None
    workdir.checkpoints.close()
    return restored[0]


@pytest.mark.parametrize("first", [60, 50, 45, 30, 5])
def test_a_finished_run_goes_on_as_if_it_had_been_asked_for_at_the_start(
    whole, tmp_path, capsys, first
):
    """From an evaluation, from an update between two, and where no checkpoint is on the way."""
    train_run(of(first), tmp_path, "")
    summary = train_run(CONFIG, tmp_path, "")
    assert f"a run of {first} updates goes on up to 80" in capsys.readouterr().err
    assert summary["updates"] == [80]
    assert summary["test"] == whole[1]["test"]
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole[0] / "metrics.jsonl").read_bytes()
    assert load_config(tmp_path / "config.yaml") == CONFIG
    jax.tree.map(np.testing.assert_array_equal, state_of(tmp_path), state_of(whole[0]))
    assert train_run(CONFIG, tmp_path, "") == summary


@pytest.mark.parametrize(
    "step", ["pathlib.Path.unlink", "experiments.training.extension.write_atomic"]
)
def test_a_kill_while_it_is_extended_loses_nothing(whole, tmp_path, monkeypatch, step):
    train_run(of(45), tmp_path, "")
    finished = (tmp_path / "metrics.jsonl").read_bytes()

    def killed(*arguments, **keywords):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(step, killed)
        with pytest.raises(KeyboardInterrupt):
            train_run(CONFIG, tmp_path, "")
    copy = tmp_path.with_name("copy-" + tmp_path.name)
    shutil.copytree(tmp_path, copy)
    # The old number of updates ends as before, and the new one as from the start.
    train_run(of(45), tmp_path, "")
    assert (tmp_path / "metrics.jsonl").read_bytes() == finished
    train_run(CONFIG, copy, "")
    assert (copy / "metrics.jsonl").read_bytes() == (whole[0] / "metrics.jsonl").read_bytes()


def refused(path, config):
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with pytest.raises(UserError) as caught:
        train_run(config, path, "")
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    return str(caught.value)


def test_fewer_updates_than_are_done_are_refused(whole):
    message = refused(whole[0], of(60))
    assert "has a run of 80 updates, of which 80 are done, and train.updates is 60" in message


def test_a_run_that_cannot_resume_stays_finished(whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole[0], run)
    records = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(records[1:]))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "no checkpoint fits this file, and nothing was changed" in refused(run, of(100))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_schedule_over_the_updates_is_refused(tmp_path):
    train_run(of(20, optimizer__schedule="cosine"), tmp_path, "")
    message = refused(tmp_path, of(80, optimizer__schedule="cosine"))
    assert "schedule cosine depends on their number" in message


def test_more_updates_of_a_run_in_which_every_seed_stopped_change_nothing(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    summary = json.loads((whole[0] / "summary.json").read_text())
    (tmp_path / "run/summary.json").write_text(json.dumps({**summary, "updates": [40]}))
    assert "more updates change nothing" in refused(tmp_path / "run", of(100))


def test_another_difference_is_still_refused(whole):
    message = refused(whole[0], of(100, seed=5))
    assert "seed: 0, not 5" in message
