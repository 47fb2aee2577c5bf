"""A run that was killed, or met a full disk, ends as one that was not."""

import errno
import os
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


@pytest.mark.parametrize("first", [0, slow_case(1), slow_case(2)])
def test_a_run_killed_while_it_mends_itself_ends_as_if_nothing_had_been(
    whole, tmp_path, monkeypatch, first
):
    """The newest checkpoint is damaged, and a line of metrics.jsonl after the one before."""
    start = tmp_path / "start"
    shutil.copytree(whole, start)
    (start / "summary.json").unlink()
    (start / "checkpoints" / "60" / "progress.json").write_text("{")
    lines = (start / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (start / "metrics.jsonl").write_bytes(b"".join([*lines[:4], b"{\n", lines[5]]))
    shutil.copytree(start, tmp_path / "counted")
    for at, call in list(enumerate(changes(tmp_path / "counted", monkeypatch)))[first::3]:
        path = tmp_path / f"{at}"
        shutil.copytree(start, path)
        with FaultyDisk(at, "kill").patched(monkeypatch), pytest.raises(KilledError):
            toy_train(path)
        toy_train(path)
        assert run_differences(whole, path) == [], (at, call)
        left = {p.name for p in (path / "checkpoints").iterdir()}
        assert left == {"40", "60"}, (at, call)


def test_what_a_checkpoint_needs_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """After a power cut, a folder may have its new name only if its content came before."""
    trace, names = [], {}
    originals = {name: getattr(os, name) for name in ("open", "rename", "replace")}

    def traced_open(path, *args, **kwargs):
        handle = originals["open"](path, *args, **kwargs)
        names[handle] = os.path.relpath(path, tmp_path)
        return handle

    def traced(name):
        def call(source, target, **kwargs):
            trace.append((name, os.path.relpath(target, tmp_path)))
            return originals[name](source, target, **kwargs)

        return call

    monkeypatch.setattr(os, "open", traced_open)
    monkeypatch.setattr(os, "rename", traced("rename"))
    monkeypatch.setattr(os, "replace", traced("rename"))
    monkeypatch.setattr(os, "fsync", lambda handle: trace.append(("fsync", names[handle])))
    toy_train(tmp_path)
    for update in (20, 40, 60):
        end = trace.index(("rename", f"checkpoints/{update}"))
        begin = max(i for i in range(end) if trace[i] == ("fsync", "metrics.jsonl"))
        temporary = f"checkpoints/.{update}.tmp-{os.getpid()}"
        files = ("state.safetensors", "progress.json", "config.yaml", "checksums.json")
        assert [name for kind, name in trace[begin + 1 : end] if temporary in name] == [
            *(f"{temporary}/{name}" for name in files), temporary,
        ]  # fmt: skip
        assert trace[end + 1] == ("fsync", "checkpoints")
    for name in ("config.yaml", "summary.json"):
        at = trace.index(("rename", name))
        assert (trace[at - 1], trace[at + 1]) == (("fsync", f"{name}.tmp"), ("fsync", "."))


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


@pytest.mark.parametrize(
    ("code", "first"),
    [
        (errno.ENOSPC, 0), slow_case(errno.ENOSPC, 1), slow_case(errno.ENOSPC, 2),
        *(slow_case(code, first) for code in (errno.EROFS, errno.EIO) for first in range(3)),
    ],
)  # fmt: skip
def test_a_write_that_fails_is_one_line_and_the_same_command_goes_on(
    whole, tmp_path, monkeypatch, code, first
):
    """At every third change of the disk, from the first on."""
    for at, call in list(enumerate(changes(tmp_path / "counted", monkeypatch)))[first::3]:
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
