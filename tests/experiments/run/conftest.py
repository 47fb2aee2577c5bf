"""Runs for the tests of what a run keeps on disk; their training has no model."""

import shutil

import pytest

from tests.helpers.toy_runs import toy_train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run, which tests copy."""
    path = tmp_path_factory.mktemp("whole") / "run"
    toy_train(path)
    return path


@pytest.fixture
def run(whole, tmp_path):
    """A run that was stopped before its summary: lines 10 to 60, checkpoints of 40 and 60."""
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    (path / "summary.json").unlink()
    return path
