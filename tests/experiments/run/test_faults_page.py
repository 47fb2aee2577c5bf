"""The page for operators: each fault of its table prints what stands there."""

import dataclasses
import errno
import re
import shutil
from pathlib import Path

import pytest

from experiments.config.file import dump_config
from experiments.errors import TrainingFailed, UserError
from experiments.run.workdir import Workdir
from tests.helpers.toy_runs import CONFIG, LIKE, FaultyDisk, changes, toy_train

PAGE = (Path(__file__).parents[3] / "docs" / "experiments" / "faults.md").read_text()
TABLE = PAGE[PAGE.index("| fault |") : PAGE.index("Names of folders")]
ROWS = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", TABLE, re.M)[2:])
RUN = Path("runs/adding")
OTHER = dataclasses.replace(CONFIG, seed=7)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run in runs/adding that was stopped before its summary."""
    monkeypatch.chdir(tmp_path)
    toy_train(RUN)
    (RUN / "summary.json").unlink()
    return RUN


def edit(number, line):
    lines = (RUN / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    lines[number - 1] = line
    (RUN / "metrics.jsonl").write_bytes(b"".join(lines))


def flip():
    path = RUN / "checkpoints/60/state.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def every_checkpoint():
    for update in (40, 60):
        (RUN / f"checkpoints/{update}/state.safetensors").unlink()


FILES = {
    "the newest checkpoint is damaged: flipped bits, cut, missing files": flip,
    "every checkpoint is damaged": every_checkpoint,
    "the checkpoints were deleted": lambda: shutil.rmtree(RUN / "checkpoints"),
    "lines of `metrics.jsonl` after the checkpoint before were edited or damaged":
        lambda: edit(5, b"\xff\n"),
    "the end of `metrics.jsonl` was cut off": lambda: edit(6, b""),
    "earlier lines of `metrics.jsonl` were edited, removed or damaged": lambda: edit(2, b""),
    "`metrics.jsonl` was deleted": lambda: (RUN / "metrics.jsonl").unlink(),
    "`config.yaml` was deleted": lambda: (RUN / "config.yaml").unlink(),
    "`summary.json` is damaged": lambda: (RUN / "summary.json").write_text("{"),
}  # fmt: skip
"""Faults of files, which a training of the same config meets."""


def disk(code, name, monkeypatch):
    """A training whose disk fails at the last call of a name."""
    shutil.rmtree(RUN)
    with monkeypatch.context() as patch:
        calls = changes(RUN, patch)
    shutil.rmtree(RUN)
    at = len(calls) - 1 - calls[::-1].index(name)
    with FaultyDisk(at, code).patched(monkeypatch):
        toy_train(RUN)


def read_only(monkeypatch):
    with FaultyDisk(0, errno.EROFS).patched(monkeypatch):
        toy_train(RUN)  # the first change is the lock's


def in_use(_):
    with Workdir(RUN).locked():
        toy_train(RUN)


def no_locks(monkeypatch):
    def flock(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    toy_train(RUN)


def changed_meanwhile(_):
    workdir = Workdir.of(RUN, CONFIG).begin(CONFIG)
    states, progress = workdir.resume(LIKE)
    (RUN / "metrics.jsonl").unlink()
    progress.update = 70
    workdir.checkpoints.save(states, progress)


def edited_config(_):
    (RUN / "config.yaml").write_text(dump_config(OTHER))
    toy_train(RUN, OTHER)


def environment(_):
    (RUN / "environment.json").write_text("{")
    Workdir(RUN).write_environment()


def another_environment(monkeypatch):
    Workdir(RUN).write_environment()
    monkeypatch.setenv("NPROC", "77")
    Workdir(RUN).write_environment()


ACTIONS = {
    "the disk is full": lambda patch: disk(errno.ENOSPC, "write", patch),
    "the disk has an error, or becomes read-only while training":
        lambda patch: disk(errno.EIO, "write", patch),
    "the folder cannot be written at the start": read_only,
    "another process trains in the folder": in_use,
    "the file system has no locks": no_locks,
    "the folder has a run of another config": lambda _: toy_train(RUN, OTHER),
    "another program changes `metrics.jsonl` while the run trains": changed_meanwhile,
    "`config.yaml` was edited": edited_config,
    "`environment.json` is damaged": environment,
    "the run resumes with other versions, another backend or other devices": another_environment,
}  # fmt: skip
"""Other faults."""

ELSEWHERE = {
    "the process is killed, or the power fails": "run/test_kills.py",
    "killed in the middle of a save": "run/test_nothing_is_lost.py",
    "Ctrl-C, SIGTERM or SIGHUP (not under `nohup`)": "training/test_signals.py",
    "a second Ctrl-C": "training/test_signals.py",
    "a seed diverges": "training/test_divergence.py",
    "every seed diverges": "training/test_divergence.py",
    "the model is too large for the memory": "test_memory_estimate.py",
    "the memory runs out while training": "training/test_memory.py",
}
"""Faults that are tested in other files."""


def test_python_of_the_page_runs(capsys):
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(compile(code, "faults.md", "exec"), {})
    assert "What differs between two runs" in capsys.readouterr().out


def test_every_row_is_tested():
    assert FILES.keys() | ACTIONS.keys() | ELSEWHERE.keys() == ROWS.keys()
    assert all((Path(__file__).parents[1] / file).exists() for file in ELSEWHERE.values())


@pytest.mark.parametrize("fault", [*FILES, *ACTIONS])
def test_a_fault_prints_what_stands_on_the_page(run, monkeypatch, capsys, fault):
    capsys.readouterr()
    failed = ""
    try:
        if fault in FILES:
            FILES[fault]()
            toy_train(run)
        else:
            ACTIONS[fault](monkeypatch)
    except UserError as error:
        failed = f"error: {error}"
    except TrainingFailed as error:
        failed = f"failed: {error}"
    printed = failed or capsys.readouterr().err
    (expected,) = re.findall("`([^`]+)`", ROWS[fault])
    pattern = ".*".join(map(re.escape, re.split(r"\s*…\s*", expected)))
    assert re.fullmatch(pattern, " ".join(printed.split())), printed
