"""The environment of a run: what is recorded, said at the start, and said when it changes."""

import json
import os
import stat
import time

import jax
import pytest

import lstm_jax as lj
from experiments.config.layer import layer
from experiments.model import Model
from experiments.run import environment, git_commit
from experiments.run.environment import current_environment, environment_differences
from experiments.run.what_runs import implementations, what_runs
from experiments.run.workdir import Workdir
from experiments.tasks import Adding
from lstm_jax.backends import ffi
from tests.helpers.toy_runs import CONFIG


def test_everything_that_may_change_a_result_is_recorded(monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    here = current_environment(["cpu"], jax.devices()[:2])
    assert here["versions"]["lstm_jax"] == lj.__version__
    assert here["versions"]["jax"] == jax.__version__
    assert (here["versions"]["lstm_jax_native"] is None) == (ffi.load() is not None)
    assert here["implementations"] == ["cpu"]
    assert (here["backend"], here["devices"], here["processes"]) == ("cpu", 2, 1)
    assert here["device_kinds"] == {jax.devices()[0].device_kind: 2}
    assert here["x64"] is False
    assert here["threads"] == here["cores"]
    native = ffi.INSTRUCTION_SETS if ffi.load() is None else (None,)
    assert here["instruction_set"] in native
    # Without being told otherwise, one device trains, however many there are.
    assert current_environment()["devices"] == 1
    monkeypatch.setenv("NPROC", "7")
    assert environment.threads() == 7


def test_x64_is_recorded(x64):
    assert current_environment()["x64"] is True


def fake_git(folder, monkeypatch, script):
    program = folder / "git"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_without_git_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    here = current_environment()
    assert here["git_commit"] is None
    assert here["git_dirty"] is None


@pytest.mark.parametrize("script", ["sleep 30", "sleep 30 & sleep 30", "trap '' TERM; sleep 30"])
def test_a_git_that_hangs_delays_the_start_by_a_second_at_most(monkeypatch, tmp_path, script):
    monkeypatch.setattr(git_commit, "SECONDS", 0.2)
    fake_git(tmp_path, monkeypatch, script)
    began = time.monotonic()
    assert git_commit.commit() == {"git_commit": None, "git_dirty": None}
    assert time.monotonic() - began < 5


def test_the_commit_is_recorded_where_only_the_status_hangs(monkeypatch, tmp_path):
    monkeypatch.setattr(git_commit, "SECONDS", 0.5)
    fake_git(tmp_path, monkeypatch, 'case "$*" in *status*) sleep 30;; *) echo abc;; esac')
    assert git_commit.commit() == {"git_commit": "abc", "git_dirty": None}


def test_git_waits_no_longer_than_a_second():
    assert git_commit.SECONDS < 1


def test_output_of_git_that_is_no_utf8_is_no_error(monkeypatch, tmp_path):
    fake_git(tmp_path, monkeypatch, r"printf '\377\376'")
    assert git_commit.commit()["git_dirty"] is True
    json.dumps(git_commit.commit())


def test_a_run_resumed_in_another_environment_records_and_says_it(monkeypatch, tmp_path, capsys):
    workdir = Workdir.of(tmp_path, CONFIG).begin(CONFIG)
    first = workdir.write_environment(["cpu"])
    assert workdir.write_environment(["cpu"]) == first
    assert "resumed_in" not in workdir.environment()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("NPROC", "77")
    second = workdir.write_environment(["scan"])
    workdir.write_environment(["scan"])
    assert workdir.environment()["resumed_in"] == [second]
    assert workdir.environment()["implementations"] == ["cpu"]
    assert capsys.readouterr().err == (
        "resuming in another environment, so that the last digits may differ from an uninterrupted"
        f" run: implementations scan, not cpu; threads 77, not {first['threads']}\n"
    )


def test_a_run_that_starts_anew_forgets_the_environment_before(monkeypatch, tmp_path, capsys):
    Workdir.of(tmp_path, CONFIG).begin(CONFIG).write_environment(["cpu"])
    workdir = Workdir.of(tmp_path, CONFIG).begin(CONFIG)
    assert workdir.resume({}) is None
    here = workdir.write_environment(["scan"])
    assert workdir.environment() == here
    assert capsys.readouterr().err == ""


def test_what_differs_is_named():
    before = {
        "backend": "cpu", "device_kinds": {"cpu": 1}, "processes": 1, "implementations": ["cpu"],
        "instruction_set": "avx512", "threads": 2, "x64": False, "cpu": "one",
        "versions": {"jax": "0.10.2", "lstm_jax_native": "0.1.0"},
    }  # fmt: skip
    now = {
        "backend": "gpu", "device_kinds": {"H200": 8}, "processes": 2,
        "implementations": ["cudnn", "scan"], "instruction_set": None, "threads": 4, "x64": True,
        "cpu": "another", "versions": {"jax": "0.11.0", "lstm_jax_native": None},
    }  # fmt: skip
    assert environment_differences(before, before) == []
    assert environment_differences({}, now) == []  # what was not recorded is not compared
    assert environment_differences(before, now) == [
        "backend gpu, not cpu", "device_kinds 8 x H200, not 1 x cpu", "processes 2, not 1",
        "implementations cudnn and scan, not cpu", "instruction_set none, not avx512",
        "threads 4, not 2", "x64 true, not false", "jax 0.11.0, not 0.10.2",
        "lstm_jax_native none, not 0.1.0",
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"{}", b"[1]", b"", b'{"python": 3}'])
def test_a_damaged_environment_is_moved_aside(tmp_path, capsys, content):
    workdir = Workdir.of(tmp_path, CONFIG).begin(CONFIG)
    (tmp_path / "environment.json").write_bytes(content)
    here = workdir.write_environment()
    assert "it is kept as environment.json.damaged-1" in capsys.readouterr().err
    assert (tmp_path / "environment.json.damaged-1").read_bytes() == content
    assert workdir.environment() == here


@pytest.mark.parametrize("resumed", [5, [{}], [5], None])
def test_damaged_resumptions_are_moved_aside(tmp_path, capsys, resumed):
    workdir = Workdir.of(tmp_path, CONFIG).begin(CONFIG)
    here = workdir.write_environment()
    (tmp_path / "environment.json").write_text(json.dumps(here | {"resumed_in": resumed}))
    workdir.write_environment()
    assert "resumed_in" in capsys.readouterr().err
    assert workdir.environment() == here


def test_what_runs_is_said_in_one_line():
    lstm, gru = (layer(cell, hidden_size=3) for cell in ("lstm", "gru"))
    here = {
        "backend": "cpu",
        "instruction_set": "avx2",
        "threads": 8,
        "devices": 1,
        "device": "cpu",
    }
    native = what_runs([layer("lstm", hidden_size=64)], here | {"implementations": ["cpu"]})
    assert native == "lstm 64 units on cpu (native avx2, 8 threads), float32"
    scan = what_runs(
        [gru, gru],
        here | {"implementations": ["scan"]},
        "bfloat16",
    )
    assert scan == "2 x gru 3 units on cpu (scan, 8 threads), bfloat16"
    both = what_runs(
        [lstm, gru],
        here | {"implementations": ["cpu", "scan"]},
    )
    assert both == "lstm 3 units, gru 3 units on cpu (native avx2, scan, 8 threads), float32"
    gpus = {"backend": "gpu", "device": "NVIDIA H200", "devices": 8, "implementations": ["cudnn"]}
    assert what_runs([layer("lstm", hidden_size=64)], here | gpus) == (
        "lstm 64 units on 8 x NVIDIA H200 (cudnn), float32"
    )


def test_the_backend_that_runs_is_found_for_the_model():
    def of(cell, implementation=None):
        model = Model(cell, 2, 5, 1, implementation=implementation)
        return implementations(model, Adding(length=6), (), 4)

    deep = lj.stack(lj.LSTM(2, 5), lj.TanhRNN(5, 4), lj.LSTM(4, 3), dropout=0.1)
    assert of(lj.LSTM(2, 5), "scan") == ("scan",)
    assert of(lj.TanhRNN(2, 5)) == ("scan",)
    if ffi.load() is None and ffi.instruction_set() != "baseline":
        assert of(lj.LSTM(2, 5)) == ("cpu",)
        assert of(deep) == ("cpu", "scan")
