"""Runs that are kept: small, and the page is the same."""

import json

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.report.runs import read_run
from experiments.results.keep import thinned
from experiments.tasks import Adding
from tests.helpers.runs import write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", [400, None, 700], task=Adding(length=200))


def test_a_kept_run_reads_as_the_run(run, tmp_path, capsys):
    for name in ("checkpoints", "figures"):
        (run / name).mkdir()
    (run / "lengths.json").write_text('{"mse": {"400": [0.1, 0.2, 0.3]}}')
    # A log between two evaluations, which no report reads.
    lines = (run / "metrics.jsonl").read_text().splitlines()
    between = json.dumps({"update": 150, "sequences": 4800, "loss": [0.1, 0.1, 0.1]})
    (run / "metrics.jsonl").write_text("\n".join([lines[0], between, *lines[1:]]) + "\n")
    kept = tmp_path / "kept" / "row"
    assert main(["report", str(run), "--keep", str(kept)]) == 0
    names = ["config.yaml", "summary.json", "environment.json", "lengths.json", "metrics.jsonl"]
    assert capsys.readouterr().out.startswith(f"in {kept}: {', '.join(names)}; ")
    assert sorted(path.name for path in kept.iterdir()) == sorted(names)
    assert "150" not in (kept / "metrics.jsonl").read_text()
    before, after = read_run(run), read_run(kept)
    assert after.summary == before.summary
    assert after.config == before.config
    for one, other in zip(before.seeds, after.seeds, strict=True):
        assert one.reached_at == other.reached_at
        for name, (updates, values) in one.curves.items():
            np.testing.assert_array_equal(other.curves[name][0], updates)
            np.testing.assert_allclose(other.curves[name][1], values, rtol=1e-4)


def test_lengths_of_another_run_do_not_stay_beside_the_new_one(run, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "lengths.json").write_text('{"mse": {"400": [0.1, 0.2, 0.3]}}')
    (kept / "recall.png").touch()  # pictures that were copied by hand stay
    assert main(["report", str(run), "--keep", str(kept)]) == 0
    assert not (kept / "lengths.json").exists()
    assert (kept / "recall.png").exists()


def test_a_long_training_keeps_its_first_last_and_solving_evaluations():
    records = [
        {"update": update, "loss": [1.0], "validation": {"mse": [1 / update]}}
        for update in range(100, 500_100, 100)
    ]
    found = [record["update"] for record in thinned(records, always={123_400}, most=100)]
    assert len(found) <= 101
    assert found == sorted(set(found))
    assert found[:3] == [100, 200, 300]
    assert found[-1] == 500_000
    assert 123_400 in found
    assert max(np.diff(found)) <= 500_000 / 40


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--keep", ""], "--keep needs a folder"),
        (["--keep", "run"], "--keep run: is the run itself"),
        (["--keep", "there", "--out", "none"], "takes one WORKDIR, and no other flag"),
        (["run", "--keep", "there"], "takes one WORKDIR, and no other flag"),
        (["--keep", "run/config.yaml"], "run/config.yaml"),
    ],
)
def test_bad_usage_is_one_line(run, tmp_path, monkeypatch, capsys, words, expected):
    monkeypatch.chdir(tmp_path)
    assert main(["report", "run", *words]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "there").exists()


def test_the_folder_may_stand_after_an_equals_sign(run, tmp_path, capsys):
    assert main(["report", str(run), f"--keep={tmp_path / 'kept'}"]) == 0
    assert capsys.readouterr().out.startswith(f"in {tmp_path / 'kept'}: config.yaml, ")


def test_only_a_finished_run_is_kept(tmp_path, capsys):
    write_run(tmp_path / "run", [400], finished=False)
    assert main(["report", str(tmp_path / "run"), "--keep", str(tmp_path / "kept")]) == 2
    assert "not finished; only a finished run can be kept" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()
