"""A search trains trials, prunes the poor ones, and goes on where it was stopped."""

import errno
import json
import os
import signal
import sys
import time

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.errors import Interrupted, UserError, WriteFailed
from experiments.run.atomic_write import write_errors
from experiments.run.workdir import Workdir
from experiments.search.spec import read_search

optuna = pytest.importorskip("optuna")

from experiments.search import trial as trial_module  # noqa: E402
from experiments.search.results import best_trials, importances  # noqa: E402
from experiments.search.stale import requeue_stale  # noqa: E402
from experiments.search.study import make_sampler, open_study, suggest  # noqa: E402
from experiments.search.trial import LatestMetric, check_metric  # noqa: E402
from experiments.search.workers import work  # noqa: E402

FILE = """
config:
  task: {name: adding, length: 4}
  model: {hidden_size: 2}
  train: {batch_size: 4, updates: 6, log_every: 2, eval_every: 2, checkpoint_every: 2}
  eval: {sequences: 10, batch_size: 10}
set: {train.stop_when: never}
search:
  optimizer.learning_rate: {low: 1.0e-4, high: 1.0e-1, log: true}
trials: 2
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(FILE)
    return path


def states(study):
    return [trial.state.name for trial in study.trials]


def test_a_trial_is_a_run_like_any_other(file, tmp_path, capsys):
    folder = tmp_path / "out"
    assert main(["search", str(file), "--workdir", str(folder), "--no-figures"]) == 0
    study = open_study(read_search(file), folder, None)
    assert states(study) == ["COMPLETE"] * 2
    for trial in study.trials:
        workdir = Workdir.existing(folder / "trials" / f"{trial.number}")
        assert workdir.config().optimizer.learning_rate == trial.params["optimizer.learning_rate"]
        assert workdir.summary()["updates"] == [6]
        validation = [record["validation"]["mse"][0] for record in workdir.metrics.read()]
        assert [*trial.intermediate_values.values()] == validation
        assert trial.value == validation[-1]
    best = best_trials(study, 1)[0]
    assert best.value == min(trial.value for trial in study.trials)
    record = json.loads((folder / "best.json").read_text())
    assert record["values"] == best.params
    printed = capsys.readouterr().out
    assert f"trials/{best.number}" in printed
    assert best.user_attrs["command"] in printed
    # The same command has nothing left to do, and a larger number goes on.
    assert main(["search", str(file), "--workdir", str(folder), "--no-figures"]) == 0
    assert states(open_study(read_search(file), folder, None)) == ["COMPLETE"] * 2


def test_a_poor_trial_is_pruned_at_an_evaluation(file, tmp_path, monkeypatch):
    spec = read_search(file)
    pruner = optuna.pruners.ThresholdPruner(upper=0.0)
    monkeypatch.setattr("experiments.search.study.make_pruner", lambda *_: pruner)
    work(spec, tmp_path, None, 1, figures=False)
    trial = open_study(spec, tmp_path, None).trials[0]
    assert trial.state.name == "PRUNED"
    assert list(trial.intermediate_values) == [2]
    assert "update 2" in trial.user_attrs["reason"]
    workdir = Workdir.existing(tmp_path / "trials" / "0")
    assert workdir.summary() is None
    # Its checkpoint is there, so that it can be trained to its end.
    assert [path.name for path in workdir.checkpoints_path.iterdir()] == ["2"]


def test_a_trial_that_diverges_is_pruned(file, tmp_path):
    file.write_text(FILE.replace("1.0e-4, high: 1.0e-1", "1.0e+29, high: 1.0e+30"))
    spec = read_search(file)
    work(spec, tmp_path, None, 1, figures=False)
    trial = open_study(spec, tmp_path, None).trials[0]
    assert trial.state.name == "PRUNED"
    assert "diverged" in trial.user_attrs["reason"]


@pytest.mark.parametrize("end", [Interrupted, WriteFailed])
def test_a_stopped_trial_goes_on_from_its_checkpoint(file, tmp_path, monkeypatch, end):
    """Stopped by a signal, or by a full disk."""
    spec = read_search(file)
    trainer = trial_module.Trainer
    advances = []

    class Stopped(trainer):
        def advance(self, show):
            advances.append(self.progress.update)
            if len(advances) == 2 and end is Interrupted:
                os.kill(os.getpid(), signal.SIGTERM)
            elif len(advances) == 2:
                with write_errors(tmp_path / "trials" / "0"):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().advance(show)

    monkeypatch.setattr(trial_module, "Trainer", Stopped)
    with pytest.raises(end, match=r"trial 0|trials/0"):
        work(spec, tmp_path, None, 1, figures=False)
    work(spec, tmp_path, None, 1, figures=False)
    # A signal ends a dispatch that is done; a full disk loses it.
    assert advances == ([0, 2, 4] if end is Interrupted else [0, 2, 2, 4])
    study = open_study(spec, tmp_path, None)
    assert states(study) == ["FAIL", "COMPLETE"]
    first, second = study.trials
    assert first.params == second.params
    assert list(second.intermediate_values) == [2, 4, 6]
    assert [p.name for p in (tmp_path / "trials").iterdir()] == ["1"]


def test_a_trial_of_a_process_that_is_gone_is_queued_again(file, tmp_path):
    spec = read_search(file)
    study = open_study(spec, tmp_path, None)
    mine, gone = study.ask(), study.ask()
    for trial, pid in ((mine, os.getpid()), (gone, 2**22 + 1)):
        suggest(trial, spec.fields)
        owner = trial_module.this_process() | {"pid": pid}
        trial.set_user_attr("owner", owner)
    requeue_stale(study, tmp_path)
    requeue_stale(study, tmp_path)
    assert states(study) == ["RUNNING", "FAIL", "WAITING"]
    assert study.trials[2].user_attrs["resumes"] == [1]
    again = study.ask()
    assert suggest(again, spec.fields) == study.trials[1].params


def test_a_trial_without_a_sign_of_life_in_a_database_is_queued_again(file, tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.search.study.HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr("experiments.search.study.GRACE_SECONDS", 1)
    spec = read_search(file)
    study = open_study(spec, tmp_path, f"sqlite:///{tmp_path}/study.db")

    def dies(trial):
        suggest(trial, spec.fields)
        raise SystemExit

    with pytest.raises(SystemExit):
        study.optimize(dies, n_trials=1)
    assert states(study) == ["RUNNING"]
    time.sleep(2.5)
    requeue_stale(study, tmp_path)
    assert states(study) == ["FAIL", "WAITING"]
    assert study.trials[1].user_attrs["resumes"] == [0]


def test_workers_draw_other_values_and_a_search_that_goes_on_the_same(file, tmp_path):
    spec = read_search(file)
    drawn = {}
    for attempt in ("one", "two"):
        study = open_study(spec, _made(tmp_path / attempt), None)
        for _ in range(3):
            trial = study.ask()
            study.sampler = make_sampler(spec, trial.number)
            value = suggest(trial, spec.fields)["optimizer.learning_rate"]
            drawn.setdefault(trial.number, set()).add(value)
    assert all(len(values) == 1 for values in drawn.values())
    assert len(set.union(*drawn.values())) == 3


def test_another_search_in_the_folder_is_refused(file, tmp_path):
    open_study(read_search(file), tmp_path, None)
    with pytest.raises(UserError, match=r"another search(.|\n)*config.train.updates: 6, not 8"):
        open_study(read_search(file, {"train.updates": 8}), tmp_path, None)


@pytest.mark.parametrize("url", ["nothing", "sqlite:////no/such/folder/x.db", "oracel://u:pw@h/d"])
def test_a_database_that_cannot_be_opened_is_one_message(file, tmp_path, url):
    with pytest.raises(UserError, match="cannot be opened") as caught:
        open_study(read_search(file), tmp_path, url)
    assert "\n" not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_an_unknown_metric_is_refused(file):
    file.write_text(FILE + "metric: mes\ndirection: minimize\n")
    with pytest.raises(UserError, match=r"must be one of mse.*did you mean mse"):
        check_metric(read_search(file))


def test_without_optuna_it_says_what_to_install(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["search", str(file), "--workdir", str(tmp_path / "out")]) == 2
    assert "pip install -r requirements/search.txt" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_mean_has_the_last_value_of_seeds_that_have_stopped():
    latest = LatestMetric("mse")
    latest.write({"update": 2, "validation": {"mse": [0.4, 0.2]}})
    assert latest.value == pytest.approx(0.3)
    latest.write({"update": 3})
    assert latest.value is None
    latest.write({"update": 4, "validation": {"mse": [None, 0.0]}})
    assert latest.value == pytest.approx(0.2)


def test_the_field_that_matters_has_the_larger_share():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(
        lambda t: t.suggest_float("matters", 0, 1) + 0 * t.suggest_float("other", 0, 1), n_trials=40
    )
    shares = importances(study)
    assert shares["matters"] > 0.8
    np.testing.assert_allclose(sum(shares.values()), 1.0)


def _made(path):
    path.mkdir()
    return path
