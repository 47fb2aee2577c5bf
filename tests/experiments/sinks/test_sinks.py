"""Sinks: TensorBoard read back, Weights & Biases offline, own ones, and ones that fail."""

import json
import struct
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.errors import UserError
from experiments.run.metrics_file import MetricsFile
from experiments.sinks.sink import scalars
from experiments.sinks.sinks import Sinks
from tests.helpers.small_config import no_figures, small_config

CONFIG = small_config({"seed": 3, "seeds": 2})
RECORDS = [
    {"update": 10, "sequences": 40, "loss": [0.5, 0.25], "grad_norm": [1.0, 2.0]},
    {
        "update": 20, "sequences": 80, "loss": [0.25, None], "grad_norm": [1.0, None],
        "validation": {"mse": [0.125, None]},
    },
    {"update": 30, "sequences": 120, "loss": [None, None], "grad_norm": [None, None]},
]  # fmt: skip
SUMMARY = {"test": {"mse": {"seeds": [0.5, None], "mean": 0.5, "std": 0.0}}}
LOSS = [(10, 0.375), (20, 0.25)]


def metrics_up_to(workdir, update):
    """The metrics of a run that was interrupted at an update."""
    path = workdir / "metrics.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in RECORDS if r["update"] <= update))
    assert MetricsFile(path).read()


def interrupted_and_resumed(name, workdir):
    """A process that ends after the second record, and one that goes on from the first."""
    workdir.mkdir()
    (workdir / "metrics.jsonl").write_text("")
    first = Sinks.named([name])
    first.start(workdir, CONFIG, 0)
    for record in RECORDS[:2]:
        first.write(record)
    first.finish(None)
    metrics_up_to(workdir, 10)
    second = Sinks.named([name])
    second.start(workdir, CONFIG, 10)
    for record in RECORDS[1:]:
        second.write(record)
    second.finish(SUMMARY)


def test_a_record_has_a_scalar_for_every_seed_and_the_mean():
    assert scalars(RECORDS[1], CONFIG) == {
        "loss/mean": 0.25, "loss/seed_3": 0.25, "grad_norm/mean": 1.0, "grad_norm/seed_3": 1.0,
        "validation/mse/mean": 0.125, "validation/mse/seed_3": 0.125,
    }  # fmt: skip
    assert scalars(RECORDS[2], CONFIG) == {}


def events(folder):
    """All scalars of the event files as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_tensorboard_reads_each_record_once_after_an_interruption(tmp_path, capsys):
    interrupted_and_resumed("tensorboard", tmp_path / "run")
    read = events(tmp_path / "run" / "tensorboard")
    assert read["loss/mean"] == LOSS
    assert read["loss/seed_4"] == [(10, 0.25)]
    assert read["validation/mse/seed_3"] == [(20, 0.125)]
    assert read["test/mse/mean"] == [(30, 0.5)]
    assert capsys.readouterr().err == ""


def test_tensorboard_has_the_records_before_it_was_asked_for(tmp_path):
    metrics_up_to(tmp_path, 20)
    sinks = Sinks.named(["tensorboard"])
    sinks.start(tmp_path, CONFIG, 20)
    sinks.finish(None)
    assert events(tmp_path / "tensorboard")["loss/mean"] == LOSS


def messages(path):
    """The messages of a file of Weights & Biases: a log in the format of LevelDB."""
    data, at, message = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if -at % 32768 < 7:
            at += -at % 32768
        size, kind = struct.unpack_from("<HB", data, at + 4)
        message += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield message
            message = b""


@pytest.mark.peers
def test_weights_and_biases_logs_each_record_once_offline(tmp_path, monkeypatch, capsys):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    interrupted_and_resumed("wandb", tmp_path / "run")
    assert capsys.readouterr().err == ""
    logged, ids, files = [], set(), list((tmp_path / "run").glob("wandb/offline-run-*/*.wandb"))
    for path in files:
        for data in messages(path):
            record = Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                ids.add(record.run.run_id)
            if record.WhichOneof("record_type") == "history":
                items = {i.key or "/".join(i.nested_key): json.loads(i.value_json)
                         for i in record.history.item}  # fmt: skip
                if "loss/mean" in items:
                    logged.append((items["_step"], items["loss/mean"]))
    assert len(files) == 2
    assert len(ids) == 1
    assert sorted(logged) == LOSS


class Own:
    """A sink of one's own."""

    calls: list = []  # noqa: RUF012

    def start(self, workdir, config, update):
        self.calls.append(("start", workdir.name, update))

    def write(self, record):
        self.calls.append(("write", record["update"]))

    def finish(self, summary):
        self.calls.append(("finish", summary and summary["updates"]))


class Failing(Own):
    """A sink whose disk is full after the first record."""

    def write(self, record):
        raise OSError("disk quota exceeded")


class NoSink:
    """Not a sink."""


def test_a_sink_of_ones_own_gets_the_records_and_one_that_fails_is_turned_off(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("experiments.training.training_loop.draw_figures", no_figures)
    Path("quick.yaml").write_text(
        "task: {name: adding, length: 5}\nmodel: {hidden_size: 3}\n"
        "train: {batch_size: 2, updates: 4, log_every: 2, eval_every: 2, checkpoint_every: 2}\n"
        "eval: {sequences: 4, batch_size: 2}\n"
    )
    Own.calls.clear()
    flags = [f"--sink={__name__}:Own", "--sink", f"{__name__}:Failing"]
    assert main(["train", "quick.yaml", *flags]) == 0
    assert Own.calls == [
        ("start", "quick", 0), ("start", "quick", 0), ("write", 2), ("write", 4), ("finish", [4]),
    ]  # fmt: skip
    err = capsys.readouterr().err
    assert err.count("is off from here on: disk quota exceeded") == 1
    assert "sink" not in Path("runs/quick/config.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorbord", "did you mean tensorboard?"),
        ("nowhere:Sink", "no module 'nowhere'"),
        (f"{__name__}:NoSink", "has no method start"),
        (f"{__name__}:CONFIG", "not callable"),
    ],
)
def test_what_is_no_sink_is_refused_before_the_start(name, message):
    with pytest.raises(UserError) as caught:
        Sinks.named([name])
    assert message in str(caught.value)


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_package_is_named_with_what_to_install(monkeypatch, name, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(UserError, match=f"--sink {name}: needs {package}: pip install {package}"):
        Sinks.named([name])


def test_a_flag_without_a_value_is_refused(capsys):
    assert main(["train", "x.yaml", "--sink"]) == 2
    assert main(["train", "x.yaml", "--sink", "--seed", "3"]) == 2
    assert "--sink needs a value" in capsys.readouterr().err
