"""The command profile."""

import gzip
import json
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.profiling import measure
from experiments.profiling.text import render

CONFIG = """
task: {name: adding, length: 5}
model: {hidden_size: 3}
train: {batch_size: 4, updates: 100, log_every: 2, eval_every: 2, checkpoint_every: 2}
eval: {sequences: 6, batch_size: 3}
"""


def test_a_profile_is_consistent_and_its_trace_can_be_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "CEILING_SIZE", dict.fromkeys(measure.CEILING_SIZE, 64))
    monkeypatch.setattr(measure, "CEILING_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(CONFIG)
    assert main(["profile", "mine.yaml", "--updates", "5", "--model.hidden_size", "4"]) == 0
    out = Path("profiles/mine")
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml", "profiles"}
    profile = json.loads((out / "profile.json").read_text())
    seconds = profile["seconds"]
    assert sum(seconds.values()) == pytest.approx(profile["total_seconds"])
    assert min(seconds.values()) >= 0
    assert seconds["other"] < 0.5 * profile["total_seconds"]
    updates = seconds["updates: host"] + seconds["updates: device"]
    assert profile["updates"] == 4  # two dispatches of two
    assert 4 / profile["updates_per_second"] == pytest.approx(updates, rel=0.2)
    assert profile["batch"] == {"sequences": 4, "steps": 5}
    assert profile["steps_per_second"] == pytest.approx(20 * profile["updates_per_second"])
    assert profile["parameters"] == 4 * 4 * (2 + 4 + 1) + 4 + 1
    rate = profile["flops_per_update"] * profile["updates_per_second"]
    assert profile["flops_per_second"] == pytest.approx(rate)
    assert profile["memory_mib"]["peak of the process"] > 100
    assert profile["memory_mib"]["arguments"] < 1
    assert [*profile["implementations"]] == ["LSTM(input_size=2, hidden_size=4)"]
    with gzip.open(profile["trace"], "rt") as file:
        assert json.load(file)["traceEvents"]
    assert profile["operations"]
    printed = capsys.readouterr().out
    assert printed.startswith(render(profile))
    text = render({**profile, "model": "Stack(cells=(" + "LSTM(2, 3), " * 20 + "))"})
    assert max(map(len, text.splitlines())) < 80


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "profile: CONFIG comes first"),
        (
            ["mine.yaml", "--updates", "0"],
            "--updates: must be a number of updates from 1 on; got 0",
        ),
        (["mine.yaml", "--updatse", "3"], "--updatse: unknown option; did you mean --updates?"),
        (["missing.yaml"], "missing.yaml"),
    ],
)
def test_bad_usage_is_one_line(words, message, capsys):
    assert main(["profile", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
