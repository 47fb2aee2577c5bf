"""The metrics file: mended where a checkpoint allows it, refused otherwise."""

import json
import os
import shutil

import pytest

from experiments.errors import TrainingFailed, UserError
from experiments.run.compare import run_differences
from experiments.run.metrics_file import MetricsFile, MetricsMark
from experiments.run.workdir import Workdir
from tests.helpers.toy_runs import CONFIG, LIKE, snapshot, toy_train


@pytest.fixture
def metrics(tmp_path):
    return MetricsFile(tmp_path / "metrics.jsonl")


def test_a_line_that_is_being_written_is_left_out_and_records_are_rewound(metrics):
    assert metrics.read() == []
    metrics.append({"update": 1})
    mark = metrics.mark()
    metrics.append({"update": 2})
    metrics.close()
    with metrics.path.open("a") as file:
        file.write('{"upd')
    again = MetricsFile(metrics.path)
    assert again.read() == [{"update": 1}, {"update": 2}]
    again.rewind(mark)
    assert again.read() == [{"update": 1}]
    assert metrics.path.read_text() == '{"update": 1}\n'
    again.append({"update": 3})
    assert again.mark() == MetricsFile(metrics.path).mark()
    again.rewind(MetricsMark())
    assert metrics.path.read_bytes() == b""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{}", "update is missing"),
        (b"5", "the content: must be a mapping, not a whole number"),
        (b"null", "the content: must be a mapping, not null"),
        (b'{"update": "2"}', "update: must be a whole number, not text"),
        (b'{"update": true}', "update: must be a whole number, not true or false"),
        (b'{"update": 2, "loss": NaN}', "it is not JSON"),
        (b'{"update": 2, "lo\xff": 1}', "it is not JSON"),
        (b'{"update": ' + b"9" * 5000 + b"}", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"", "it is not JSON"),
        (b'{"update": 1}', "update 1 comes after update 1"),
    ],
)
def test_a_line_that_is_no_record_is_named(metrics, line, message):
    metrics.append({"update": 1})
    with metrics.path.open("ab") as file:
        file.write(line + b"\n" + b'{"update": 3}\n')
    with pytest.raises(UserError) as caught:
        metrics.read()
    assert str(caught.value) == f"{metrics.path}: line 2 is damaged: {message}"


def test_a_pipe_is_no_metrics_file(metrics):
    os.mkfifo(metrics.path)
    with pytest.raises(UserError, match="cannot be read: not a regular file"):
        metrics.read()


def test_records_hold_no_numbers_that_json_does_not_have(metrics):
    with pytest.raises(ValueError, match="not JSON compliant"):
        metrics.append({"update": 1, "loss": float("nan")})
    assert metrics.read() == []


@pytest.mark.parametrize("change", [lambda p: p.unlink(), lambda p: p.write_text("x")])
def test_a_file_that_another_program_changes_meanwhile_gets_no_checkpoint(tmp_path, change):
    workdir = Workdir.of(tmp_path, CONFIG).begin(CONFIG)
    workdir.metrics.append({"update": 10})
    change(workdir.metrics.path)
    with pytest.raises(TrainingFailed, match="another program has changed or removed this file"):
        workdir.metrics.mark()


def edit(path, number, line):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = line
    path.write_bytes(b"".join(lines))


OTHER = json.dumps({"update": 50, "loss": [1.0, 2.0]}).encode() + b"\n"
AFTER_40 = {
    "edited": (5, OTHER, "a line from 5 to 6 was changed or removed"),
    "broken": (5, b"\xff\n", "line 5 is damaged: it is not JSON"),
    "no record": (6, b"{}\n", "line 6 is damaged: update is missing"),
    "twice": (6, OTHER, "line 6 is damaged: update 50 comes after update 50"),
}


@pytest.mark.parametrize("name", AFTER_40)
def test_damage_after_the_checkpoint_before_is_mended_and_nothing_is_erased(
    whole, run, capsys, name
):
    number, line, message = AFTER_40[name]
    edit(run / "metrics.jsonl", number, line)
    damaged = (run / "metrics.jsonl").read_bytes()
    toy_train(run)
    (said,) = capsys.readouterr().err.splitlines()
    assert said == (
        f"{run}/checkpoints/60: not used: metrics.jsonl is not as it was then: {message}; it is"
        " kept as metrics.jsonl.damaged-1; using the checkpoint of update 40"
    )
    assert (run / "metrics.jsonl.damaged-1").read_bytes() == damaged
    assert run_differences(whole, run) == []


def test_a_file_that_was_cut_is_mended(whole, run, capsys):
    edit(run / "metrics.jsonl", 6, b"")
    toy_train(run)
    (said,) = capsys.readouterr().err.splitlines()
    assert "metrics.jsonl is not as it was then: it has 5 lines, not 6; using" in said
    # All that was in the file is written again.
    assert not (run / "metrics.jsonl.damaged-1").exists()
    assert run_differences(whole, run) == []


BEFORE_40 = {
    "first line broken": (1, b"{\n", "line 1 is damaged: it is not JSON"),
    "gap": (2, b"", "a line from 1 to 4 was changed or removed"),
    "edited": (3, b'{"update": 30, "loss": [0, 0]}\n', "a line from 1 to 4 was changed or removed"),
    "bad UTF-8": (4, b'{"update": 40, "lo\xffss": 1}\n', "line 4 is damaged: it is not JSON"),
}


@pytest.mark.parametrize("name", BEFORE_40)
def test_damage_before_every_checkpoint_is_refused_and_nothing_is_changed(run, name):
    number, line, message = BEFORE_40[name]
    edit(run / "metrics.jsonl", number, line)
    before = snapshot(run)
    with pytest.raises(UserError) as caught:
        toy_train(run)
    assert str(caught.value) == (
        f"{run}/metrics.jsonl: {message}; no checkpoint fits this file, and nothing was changed;"
        " put back a copy, or train anew in another folder with --workdir"
    )
    assert snapshot(run) == before
    # The parameters can be evaluated nevertheless.
    assert Workdir.existing(run).checkpoints.restore(LIKE)[1].update == 60


def test_a_deleted_file_is_refused_and_stays_deleted(run):
    (run / "metrics.jsonl").unlink()
    before = snapshot(run)
    with pytest.raises(UserError, match=r"metrics\.jsonl: it is missing; it had 4 lines; no check"):
        toy_train(run)
    assert snapshot(run) == before


def test_later_lines_are_written_again(whole, run):
    shutil.rmtree(run / "checkpoints" / "60")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"update": 70}\n{"upd')
    toy_train(run)
    assert run_differences(whole, run) == []


def test_damage_before_the_first_checkpoint_starts_anew(whole, tmp_path, capsys):
    workdir = Workdir.of(tmp_path, CONFIG).begin(CONFIG)
    workdir.metrics.path.write_text("nonsense\n")
    toy_train(tmp_path)
    assert "line 1 is damaged" in (said := capsys.readouterr().err)
    assert said.endswith("it is kept as metrics.jsonl.damaged-1; starting anew\n")
    assert (tmp_path / "metrics.jsonl.damaged-1").read_text() == "nonsense\n"
    assert run_differences(whole, tmp_path) == []
