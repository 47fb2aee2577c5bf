"""The workdir: locked before anything is written, of one config, with readable JSON files."""

import dataclasses
import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.commands.train import train_command
from experiments.config.file import dump_config
from experiments.errors import UserError
from experiments.run import lock
from experiments.run.checkpoints import TrainingProgress
from experiments.run.compare import run_differences
from experiments.run.default_folder import default_workdir
from experiments.run.shown_path import shown
from experiments.run.workdir import Workdir
from tests.helpers.toy_runs import CONFIG, LIKE, snapshot, toy_train

ROOT = Path(__file__).parents[3]
OTHER = dataclasses.replace(CONFIG, seed=7)
NAMES = [
    "lr[0.1]", "a*b?", "with space", "line\nbreak", os.fsdecode(b"no\xffutf8"), "-dash", "{x}",
    "%s", "é", "a" * 200, "quote'\"", "~", "$HOME", "back\\slash",
]  # fmt: skip


def test_a_workdir_may_have_any_name(tmp_path):
    path = tmp_path.joinpath(*NAMES)
    toy_train(path)
    states, progress = Workdir.existing(path).checkpoints.restore(LIKE)
    assert (progress.update, states["count"]) == (60, 6)
    (path / "summary.json").unlink()
    (path / "checkpoints" / "60" / "progress.json").unlink()
    toy_train(path)
    toy_train(tmp_path / "plain")
    assert run_differences(tmp_path / "plain", path) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_message_shows_a_path_on_one_line(name):
    text = shown(Path("runs") / name)
    assert text.isprintable()
    text.encode("utf-8")


def test_a_second_process_is_refused_and_changes_nothing(tmp_path):
    first = Workdir.of(tmp_path, CONFIG)
    with first.locked():
        first.begin(CONFIG)
        before = snapshot(tmp_path)
        with pytest.raises(UserError) as caught:
            toy_train(tmp_path, OTHER)
        assert snapshot(tmp_path) == before
        owner = f"process {os.getpid()} on {socket.gethostname()}"
        assert str(caught.value) == f"{tmp_path}: another process is training there ({owner})"
    toy_train(tmp_path, OTHER)


def test_two_that_start_at_the_same_time_do_not_mix(tmp_path):
    """Both have looked at the folder before the first one has the lock."""
    first, second = Workdir.of(tmp_path, CONFIG), Workdir.of(tmp_path, OTHER)
    with first.locked():
        first.begin(CONFIG)
        first.metrics.append({"update": 10})
        with pytest.raises(UserError, match="another process"), second.locked():
            pass
    with second.locked(), pytest.raises(UserError, match="seed: 0, not 7"):
        second.begin(OTHER)
    assert (tmp_path / "config.yaml").read_text() == dump_config(CONFIG)


def test_the_lock_ends_with_the_process_however_it_ends(tmp_path):
    program = f"""
import os, pathlib
from experiments.run import lock
with lock.locked(pathlib.Path({str(tmp_path)!r})):
    print("locked", flush=True)
    os.read(0, 1)
"""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    with process:
        assert process.stdout
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(UserError, match=rf"\(process {process.pid} on "), lock.locked(tmp_path):
            pass
        process.kill()
        process.wait()
    with lock.locked(tmp_path):
        pass


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, capsys):
    def flock(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with lock.locked(tmp_path):
        pass
    assert "its file system has no locks" in capsys.readouterr().err


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_a_short_message(tmp_path, monkeypatch, code):
    toy_train(tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    before, original = snapshot(tmp_path), os.open

    def refusing(path, flags, *args, **kwargs):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(code, os.strerror(code), str(path))
        return original(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(UserError) as caught:
        toy_train(tmp_path / "run")
    assert str(caught.value) == f"{tmp_path / 'run'}: cannot be written: {os.strerror(code)}"
    # Reading needs no writing.
    assert Workdir.existing(tmp_path / "run").checkpoints.restore(LIKE)[1].update == 60
    assert snapshot(tmp_path) == before


def test_a_folder_that_cannot_be_used_is_a_short_message(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    for path in (blocked, blocked / "run", tmp_path / ("x" * 300)):
        with pytest.raises(UserError, match="cannot be written"):
            toy_train(path)
    with pytest.raises(UserError, match=r"no config\.yaml"):
        Workdir.existing(tmp_path)


@pytest.fixture
def stopped(tmp_path):
    """A run with checkpoints of updates 40 and 60, and without a summary."""
    path = tmp_path / "run"
    toy_train(path)
    (path / "summary.json").unlink()
    return path


def test_without_config_yaml_another_config_is_refused(stopped, capsys):
    (stopped / "config.yaml").unlink()
    before = snapshot(stopped)
    with pytest.raises(UserError, match="seed: 0, not 7"):
        toy_train(stopped, OTHER)
    with pytest.raises(
        UserError, match=r"no config\.yaml; .*/checkpoints/60/config.yaml is a copy"
    ):
        Workdir.existing(stopped)
    assert snapshot(stopped) == before
    toy_train(stopped)
    assert "config.yaml: was missing; written again" in capsys.readouterr().err
    assert (stopped / "config.yaml").read_text() == dump_config(CONFIG)


@pytest.mark.parametrize("config", [CONFIG, OTHER])
def test_an_edited_config_yaml_is_refused(stopped, config):
    (stopped / "config.yaml").write_text(dump_config(OTHER))
    before = snapshot(stopped)
    with pytest.raises(UserError, match="seed: "):
        toy_train(stopped, config)
    with pytest.raises(UserError, match=r"config\.yaml was changed: .*60 has a run with another"):
        Workdir.existing(stopped).checkpoints.restore(LIKE)
    assert snapshot(stopped) == before


def test_comments_in_config_yaml_are_no_change(stopped):
    (stopped / "config.yaml").write_text("# mine\n" + dump_config(CONFIG))
    assert toy_train(stopped)["seeds"] == [0, 1]


def test_a_field_may_differ_where_that_is_asked_for(stopped):
    more = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, updates=80))
    with pytest.raises(UserError, match=r"train\.updates: 60, not 80"):
        Workdir.of(stopped, more)
    workdir = Workdir.of(stopped, more, may_differ=["train.updates"]).begin(more)
    assert workdir.resume(LIKE)[1].update == 60
    assert (stopped / "config.yaml").read_text() == dump_config(more)
    # The newest checkpoint is of the first config still.
    assert Workdir.existing(stopped).checkpoints.restore(LIKE)[1].update == 60
    with pytest.raises(UserError, match=r"train\.updates: 80, not 60"):
        toy_train(stopped)
    (stopped / "config.yaml").unlink()
    workdir = Workdir.of(stopped, more, may_differ=["train.updates"]).begin(more)
    assert workdir.resume(LIKE)[1].update == 60


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "command is missing"),
        (b"[]", "the content: must be a mapping, not a list"),
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"command": 5}', "task is missing"),
    ],
)
def test_a_damaged_summary_is_a_short_message(stopped, content, message):
    (stopped / "summary.json").write_bytes(content)
    with pytest.raises(UserError) as caught:
        toy_train(stopped)
    path = stopped / "summary.json"
    assert str(caught.value) == (
        f"{path}: cannot be read: {message}; delete it, and the same command writes it again"
    )
    path.unlink()
    toy_train(stopped)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seeds", [0.5], r"seeds\[0\]: must be a whole number, not a number"),
        ("test", {"mse": 3}, r"test\.mse: must be a mapping, not a whole number"),
        ("goals", {"solved": {}}, r"goals\.solved\.goal is missing"),
        ("goals", {}, r"goals\.solved is missing"),
        ("seconds", "long", r"seconds: must be a whole number or a number, not text"),
    ],
)
def test_the_form_of_a_summary_is_checked(stopped, key, value, message):
    summary = toy_train(stopped)
    (stopped / "summary.json").write_text(json.dumps(summary | {key: value}))
    with pytest.raises(UserError, match=message):
        Workdir.existing(stopped).summary()


def test_numbers_that_are_not_finite_become_null(tmp_path):
    summary = toy_train(tmp_path / "run")
    summary["test"] = {"mse": {"seeds": [float("nan"), 1.0], "mean": float("inf")}}
    workdir = Workdir(tmp_path / "run")
    workdir.write_summary(summary)
    assert workdir.summary()["test"] == {"mse": {"seeds": [None, 1.0], "mean": None}}


@pytest.mark.parametrize("folder", ["adding", "copy", "chars"])
def test_results_of_the_pages_can_be_read(folder):
    workdir = Workdir.existing(ROOT / "docs" / "results" / folder)
    assert workdir.summary()
    assert workdir.environment()
    assert workdir.metrics.read()


def test_a_kill_before_the_first_checkpoint_leaves_no_other_config_in_the_way(tmp_path):
    workdir = Workdir.of(tmp_path, OTHER)
    with workdir.locked():
        workdir.begin(OTHER)
        assert workdir.resume(LIKE) is None
    assert toy_train(tmp_path)["seeds"] == [0, 1]


def test_jobs_of_an_array_have_folders_of_their_own():
    config = Path("configs/adding.yaml")
    named = {
        "runs/adding": [{}, {"SGE_TASK_ID": "undefined"}, {"LSB_JOBINDEX": "0"},
                        {"SLURM_ARRAY_TASK_ID": "../x"}, {"SLURM_JOB_ID": "5"}],
        "runs/adding-0": [{"SLURM_ARRAY_TASK_ID": "0"}],
        "runs/adding-12": [{"PBS_ARRAY_INDEX": "12"}, {"SGE_TASK_ID": "12"},
                           {"LSB_JOBINDEX": "12"}],
    }  # fmt: skip
    for folder, environments in named.items():
        for environ in environments:
            assert default_workdir(config, environ) == Path(folder), environ


def test_progress_goes_to_json_and_back():
    progress = TrainingProgress.at_start(3)
    progress.diverged[1] = {"update": 3, "metric": "loss", "value": "nan", "group": "cell"}
    progress.update, progress.seconds, progress.solved_at[0] = 5, 1.5, 4
    assert TrainingProgress.from_json(json.loads(json.dumps(progress.to_json()))) == progress


def test_the_command_uses_the_folder_of_the_job(tmp_path, monkeypatch):
    (tmp_path / "quick.yaml").write_text(dump_config(CONFIG))
    used = []

    def train_run(config, path, command, sinks):
        used.append(path)
        raise UserError("enough")

    monkeypatch.setattr("experiments.commands.train.train_run", train_run)
    for number in ("3", "4"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", number)
        with pytest.raises(UserError, match="enough"):
            train_command([str(tmp_path / "quick.yaml")])
    assert used == [Path("runs/quick-3"), Path("runs/quick-4")]


@pytest.mark.slow
def test_a_real_training_in_a_folder_with_a_strange_name(tmp_path):
    """Also the figures, the summary, and the parts of other libraries."""
    (tmp_path / "quick.yaml").write_text(dump_config(CONFIG))
    folder = os.fsencode(tmp_path) + b"/lr[0.1]*?\n\xff x"
    python = [sys.executable, "-m", "experiments"]
    train = ["train", str(tmp_path / "quick.yaml"), "--workdir", folder]
    for words in ([*python, *train], [*python, "evaluate", folder]):
        done = subprocess.run(
            words, cwd=ROOT, capture_output=True, env=os.environ | {"PYTHONUTF8": "1"}
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        assert b"Traceback" not in done.stderr
    assert os.listdir(folder + b"/figures")


def test_a_finished_run_without_config_yaml_is_known_by_its_checkpoint(tmp_path, capsys):
    """It was taken for a run of whatever config the command had."""
    path = tmp_path / "run"
    toy_train(path)
    (path / "config.yaml").unlink()
    before = snapshot(path)
    with pytest.raises(UserError, match="seed: 0, not 7"):
        toy_train(path, OTHER)
    assert snapshot(path) == before
    toy_train(path)
    assert "config.yaml: was missing; written again" in capsys.readouterr().err
    assert (path / "config.yaml").read_text() == dump_config(CONFIG)
