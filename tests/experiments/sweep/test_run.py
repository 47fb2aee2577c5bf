"""A sweep trains its points together, and goes on where it was stopped."""

import dataclasses
import os
import shutil
import signal
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from experiments.errors import Interrupted, UserError
from experiments.run.workdir import Workdir
from experiments.sweep import run
from experiments.sweep.groups import make_groups
from experiments.sweep.points import expand
from experiments.sweep.results import results_table
from experiments.sweep.run import run_sweep
from experiments.tasks import Adding, Goal
from experiments.training.evaluation import evaluate_run
from experiments.training.train_step import make_train_functions
from experiments.training.training_loop import train_run
from tests.helpers.sweeps import SWEEP, contents, sweep


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    points = run_sweep(sweep(folder, seeds=2), folder / "out", figures=False)
    return folder, points


def trained_alone(config, path):
    workdir = Workdir(path)
    with workdir.locked():
        workdir.begin(config)
        trainer = run.Trainer(config, workdir, make_train_functions(config), ())
        while not trainer.done:
            trainer.advance(lambda *_: None)
        return trainer, trainer.test()


def test_a_point_is_a_run_like_any_other(finished, tmp_path):
    folder, points = finished
    path = folder / "out" / "points" / "hidden_size=2,learning_rate=0.01"
    assert path.name == points[0].name
    alone, test = trained_alone(points[0].config, tmp_path)
    workdir = Workdir.existing(path)
    together = workdir.summary()
    assert together["seeds"] == [0, 1]
    assert together["updates"] == alone.updates
    for metric, values in test.items():
        np.testing.assert_allclose(together["test"][metric]["seeds"], values, rtol=1e-3)
    records = workdir.metrics.read()
    assert [record["update"] for record in records] == [2, 4, 6]
    expected = alone.workdir.metrics.read()
    np.testing.assert_allclose(records[-1]["loss"], expected[-1]["loss"], rtol=1e-3)
    updates, metrics, _ = evaluate_run(workdir, workdir.config())
    assert updates == 6
    np.testing.assert_allclose(metrics["mse"], together["test"]["mse"]["seeds"], rtol=1e-5)
    # To train it again finds it finished.
    assert train_run(points[0].config, path, "")["test"] == together["test"]
    assert {"config.yaml", "environment.json", "checkpoints"} <= {p.name for p in path.iterdir()}


def test_groups_are_gone_when_their_points_are_there(finished):
    folder, points = finished
    assert list((folder / "out" / "groups").iterdir()) == []
    assert {p.name for p in (folder / "out" / "points").iterdir()} == {p.name for p in points}


def test_a_point_that_diverges_ends_alone(finished):
    folder, points = finished
    table = results_table(folder / "out", points)
    rows = {line.split()[0]: line for line in table.splitlines() if "=" in line}
    assert "diverged" in rows["hidden_size=2,learning_rate=1e+30"]
    assert "0 of 2" in rows["hidden_size=2,learning_rate=1e+30"]
    assert "diverged" not in rows["hidden_size=2,learning_rate=0.01"]
    assert list(rows)[-1].endswith("1e+30")


def test_points_with_other_goals_have_a_table_of_their_own(finished):
    class Strict(Adding):
        solved: ClassVar[Goal] = Goal("mse", "<", 1e-9)

    folder, (first, *others) = finished
    config = dataclasses.replace(first.config, task=Strict(length=first.config.task.length))
    table = results_table(folder / "out", [dataclasses.replace(first, config=config), *others])
    heads = [line for line in table.splitlines() if line.startswith("point")]
    assert len(heads) == 2
    assert "solved (mse < 1e-09)" in heads[0]
    assert "solved (mse < 0.001)" in heads[1]


def test_a_finished_sweep_is_not_trained_again(finished, monkeypatch):
    folder, points = finished
    before = contents(folder / "out")
    monkeypatch.setattr(run, "train_group", None)
    again = run_sweep(sweep(folder, seeds=2), folder / "out")
    assert again == points
    assert contents(folder / "out") == before


def test_only_added_points_are_trained_and_removed_ones_stay(finished, tmp_path, monkeypatch):
    folder, _ = finished
    shutil.copytree(folder / "out", tmp_path / "out")
    trained = []
    monkeypatch.setattr(
        run, "train_group", lambda folder, number, group, *_, **__: trained.append(group)
    )
    other = SWEEP.replace("[2, 3]", "[2]").replace("[1.0e-2, 1.0e+30]", "[1.0e-2, 0.5]")
    points = run_sweep(sweep(tmp_path, other, seeds=2), tmp_path / "out")
    assert [[point.name for point in group.points] for group in trained] == [
        ["hidden_size=2,learning_rate=0.5"]
    ]
    assert len(points) == 2
    assert len(list((tmp_path / "out" / "points").iterdir())) == 4


def test_another_config_under_the_same_names_is_refused(finished):
    folder, _ = finished
    before = contents(folder / "out")
    with pytest.raises(UserError, match=r"another config(.|\n)*train.updates: 6, not 8"):
        run_sweep(sweep(folder, seeds=2, **{"train.updates": 8}), folder / "out")
    assert contents(folder / "out") == before
    assert list((folder / "out" / "groups").iterdir()) == []


def test_one_bad_point_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(UserError, match="hidden_size"):
        run_sweep(sweep(tmp_path, SWEEP.replace("[2, 3]", "[2, 0]")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_folder_of_a_run_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text("task: {name: adding}\n")
    with pytest.raises(UserError, match="not of a sweep"):
        run_sweep(sweep(tmp_path), tmp_path)


def test_a_stopped_sweep_ends_as_one_that_was_not(finished, tmp_path, monkeypatch):
    folder, _ = finished
    trainer = run.Trainer
    advances = 0

    class Stopped(trainer):
        def advance(self, show):
            nonlocal advances
            advances += 1
            if advances == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            super().advance(show)

    monkeypatch.setattr(run, "Trainer", Stopped)
    with pytest.raises(Interrupted, match="group 1 of 2, at update 4; the state is saved"):
        run_sweep(sweep(tmp_path, seeds=2), tmp_path / "out", figures=False)
    run_sweep(sweep(tmp_path, seeds=2), tmp_path / "out", figures=False)
    assert advances == 3 + 3
    assert contents(tmp_path / "out") == contents(folder / "out")


def test_lanes_that_stopped_early_have_shorter_files(tmp_path, monkeypatch):
    text = SWEEP.replace("1.0e+30", "1.0e-3").replace("[2, 3]", "[2]")
    text = text.replace("never", "solved")
    record_goals = run.Trainer._record_goals

    def first_is_solved_at_four(self, metrics, active):
        metrics = {name: np.array(values) for name, values in metrics.items()}
        metrics["mse"][0] = 0.0 if self.progress.update >= 4 else 1.0
        record_goals(self, metrics, active)

    monkeypatch.setattr(run.Trainer, "_record_goals", first_is_solved_at_four)
    points = run_sweep(sweep(tmp_path, text), tmp_path / "out", figures=False)
    ends = {}
    for point in points:
        workdir = Workdir.existing(Path(tmp_path / "out" / "points" / point.name))
        ends[point.name] = workdir.metrics.read()[-1]["update"], workdir.summary()["updates"]
    assert ends == {
        "hidden_size=2,learning_rate=0.01": (4, [4]),
        "hidden_size=2,learning_rate=0.001": (6, [6]),
    }


def test_groups_are_checked_as_they_train(tmp_path, monkeypatch):
    """With all their lanes in memory, and on the devices that their config asks for."""
    lanes = []
    monkeypatch.setattr(run, "load_data", lambda config, **given: lanes.append(given["lanes"]))
    groups = make_groups(expand(sweep(tmp_path, seeds=2))[0])
    run.check_groups(groups)
    assert lanes == [4, 4]
    groups = make_groups(expand(sweep(tmp_path, **{"devices.data": 4096}))[0])
    with pytest.raises(UserError, match="4096 x 1 are 4096 devices"):
        run.check_groups(groups)
