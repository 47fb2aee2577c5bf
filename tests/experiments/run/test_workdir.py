"""The workdir: its environment file, and errors of folders."""

import pytest

from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.run.environment import current_environment
from experiments.run.workdir import Workdir
from experiments.tasks import Adding

CONFIG = Config(task=Adding(length=6))


def test_without_git_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    here = current_environment()
    assert here["git_commit"] is None
    assert here["git_dirty"] is None


def test_a_run_resumed_in_another_environment_records_it(monkeypatch, tmp_path):
    workdir = Workdir.of(tmp_path, CONFIG).begin(CONFIG)
    workdir.write_environment()
    workdir.write_environment()
    assert "resumed_in" not in workdir.environment()
    other = current_environment() | {"cpu": "another"}
    monkeypatch.setattr("experiments.run.workdir.current_environment", lambda _: other)
    workdir.write_environment()
    workdir.write_environment()
    assert workdir.environment()["resumed_in"] == [other]
    assert workdir.environment()["cpu"] == current_environment()["cpu"]


def test_a_folder_that_cannot_be_used_is_a_short_message(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Workdir.of(blocked / "run", CONFIG).begin(CONFIG)
    with pytest.raises(UserError, match=r"no config\.yaml"):
        Workdir.existing(tmp_path)
