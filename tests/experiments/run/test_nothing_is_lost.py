"""A run that was killed, or met a full disk, ends as one that was not."""

import errno
import random
import shutil
import subprocess

import pytest

from experiments.errors import TrainingFailed, UserError
from experiments.run.checkpoint_folder import checkpoint_updates, open_checkpoint
from experiments.run.compare import run_differences
from tests.helpers.toy_runs import (
    FaultyDisk,
    KilledError,
    changes,
    toy_train,
)
from tests.helpers.toys import slow_case


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    toy_train(path)
    return path


def assert_all_complete(path):
    """Every checkpoint that has its name is complete."""
    for update in checkpoint_updates(path / "checkpoints"):
        open_checkpoint(path / "checkpoints" / str(update))


@pytest.mark.parametrize("fault", ["kill", "kill half"])
def test_a_run_killed_at_any_change_of_the_disk_ends_as_if_it_had_not(
    whole, tmp_path, monkeypatch, fault
):
    calls = changes(tmp_path / "counted", monkeypatch)
    assert {"write", "fsync", "rename", "rmdir"} <= set(calls)
    for at, call in enumerate(calls):
        if fault == "kill half" and call != "write":
            continue
        path = tmp_path / f"{at}"
        with FaultyDisk(at, fault).patched(monkeypatch) as disk, pytest.raises(KilledError):
            toy_train(path)
        assert disk.dead
        assert_all_complete(path)
        with FaultyDisk(None, fault).patched(monkeypatch):
            toy_train(path)
        assert run_differences(whole, path) == [], (at, call)
        # A kill before the oldest is removed leaves it to the next save.
        left = {p.name for p in (path / "checkpoints").iterdir()}
        assert {"40", "60"} <= left <= {"20", "40", "60"}


def test_a_run_killed_twenty_times_ends_as_if_it_had_not(whole, tmp_path, monkeypatch):
    path, kills, draw = tmp_path / "run", 0, random.Random(0)
    while kills < 20 or not (path / "summary.json").exists():
        # From the start of each process, so that the run gets on between the kills.
        at = draw.randrange(4, 45) if kills < 20 else None
        with FaultyDisk(at, draw.choice(["kill", "kill half"])).patched(monkeypatch):
            try:
                toy_train(path)
            except KilledError:
                kills += 1
                continue
        if kills < 20:  # too far: begin again, and count on
            shutil.rmtree(path)
    assert run_differences(whole, path) == []


def error_of(function, path):
    """The message of a function's error, or None where it has none."""
    try:
        function(path)
    except (TrainingFailed, UserError) as error:
        return str(error)
    return None


@pytest.mark.parametrize("code", [errno.ENOSPC, slow_case(errno.EROFS), slow_case(errno.EIO)])
def test_a_write_that_fails_is_one_line_and_the_same_command_goes_on(
    whole, tmp_path, monkeypatch, code
):
    for at, call in enumerate(changes(tmp_path / "counted", monkeypatch)):
        path = tmp_path / f"{at}"
        with FaultyDisk(at, code).patched(monkeypatch):
            message = error_of(toy_train, path)
        # Only what should be removed may stay without a word.
        assert message or call in ("rename", "unlink", "rmdir")
        if message:
            assert message.startswith(f"{path}")
            assert "cannot be written: " in message
            assert "\n" not in message
        assert_all_complete(path)
        with FaultyDisk(None, code).patched(monkeypatch):
            toy_train(path)
        assert run_differences(whole, path) == [], (at, call)


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system with room for 72 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=72k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except OSError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full(whole, tiny_disk):
    path, ballast = tiny_disk / "run", tiny_disk / "ballast"
    ballast.write_bytes(b"x" * 36_000)
    with pytest.raises(TrainingFailed, match="No space left on device"):
        toy_train(path)
    assert_all_complete(path)
    ballast.unlink()
    toy_train(path)
    assert run_differences(whole, path) == []
