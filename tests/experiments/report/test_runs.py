"""Folders of runs are found, and what they contain is read and checked."""

import json

import numpy as np
import pytest

from experiments.errors import UserError
from experiments.report.runs import find_runs, read_run
from experiments.tasks.hs1997 import Adding1997
from tests.helpers.runs import write_run


def test_runs_are_found_in_folders_and_below_them(tmp_path):
    sweep = tmp_path / "sweep [1]"
    runs = [write_run(sweep / name, [300]) for name in ("b", "a/x")]
    (sweep / "waiting").mkdir()
    (sweep / "waiting" / "config.yaml").write_text("task: {name: adding}")
    group = write_run(sweep / "groups" / "0", [None, None], finished=False)
    (group / "points.json").write_text("{}")
    single = write_run(tmp_path / "one", [300])
    assert find_runs([single, sweep]) == [single, runs[1], runs[0]]
    assert find_runs([sweep / "b", sweep]) == [runs[0], runs[1]]  # each once


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(UserError, match="not the folder of a run"):
        find_runs([tmp_path])
    with pytest.raises(UserError, match="nowhere: not the folder of a run"):
        find_runs([tmp_path / "nowhere"])
    (tmp_path / "points.json").write_text("{}")
    with pytest.raises(UserError, match="points of a sweep that are not finished"):
        find_runs([tmp_path])
    (tmp_path / "points.json").unlink()
    (tmp_path / "config.yaml").write_text("task: {name: adding}")
    with pytest.raises(UserError, match="has no results yet"):
        find_runs([tmp_path])


def test_a_finished_run(tmp_path):
    run = read_run(
        write_run(tmp_path / "a", [300, None], seed=4, on_test={"solved": [False, False]})
    )
    first, second = run.seeds
    assert (first.seed, first.updates, first.finished) == (4, 1000, True)
    assert first.reached_at == {"solved": 300, "mastered": None}
    assert first.reached_on_test == {"solved": False, "mastered": False}
    assert second.test == {"mse": 0.1}
    at, values = first.curves["mse"]
    assert at.tolist() == list(range(100, 1001, 100))
    np.testing.assert_array_equal(values, [0.1] * 2 + [1e-4] * 8)


def test_a_run_that_is_not_finished_has_what_its_metrics_say(tmp_path):
    run = read_run(write_run(tmp_path / "a", [300, None], finished=False, until=500))
    first, second = run.seeds
    assert run.summary is None
    assert (first.updates, first.budget, first.finished) == (500, 1000, False)
    assert first.reached_at["solved"] == 300
    assert second.reached_at["solved"] is None
    assert first.test == {}
    assert first.reached_on_test["solved"] is None


def test_a_goal_of_two_metrics_is_reached_where_both_are(tmp_path):
    path = write_run(
        tmp_path / "a",
        [None],
        finished=False,
        task=Adding1997(),
        fields={"train.stop_when": "solved"},
    )
    found = {100: (1.0, 0.0), 200: (0.0, 1.0), 300: (0.0, None), 400: (0.0, 0.0), 500: (0.0, 0.0)}
    lines = [
        {"update": update, "sequences": update, "loss": [0.1],
         "validation": {"wrong": [wrong], "mean_error": [error]}}
        for update, (wrong, error) in found.items()
    ]  # fmt: skip
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (seed,) = read_run(path).seeds
    assert seed.reached_at == {"solved": 400}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seeds": "all"}, "seeds"),
        ({"seeds": []}, "seeds"),
        ({"updates": [1, 2]}, "updates"),
        ({"test": {"mse": {"seeds": ["x"]}}}, "test.mse.seeds"),
        ({"test": {"mse": {"seeds": []}}}, "test.mse.seeds"),
        ({"test": {"mse": {}}}, "test.mse.seeds"),
        ({"diverged": [None, None]}, "diverged"),
        ({"goals": {}}, "goals.solved"),
    ],
)
def test_a_damaged_summary_is_an_error_that_names_the_file_and_the_field(tmp_path, change, field):
    path = write_run(tmp_path / "a", [300]) / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=rf"{path}: cannot be read: .*{field}"):
        read_run(tmp_path / "a")


@pytest.mark.parametrize("text", ["{}", "[]", "null", "not json", ""])
def test_other_content_is_an_error(tmp_path, text):
    path = write_run(tmp_path / "a", [300]) / "summary.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"summary.json: cannot be read: "):
        read_run(tmp_path / "a")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "update"),
        ("5", ""),
        ("\xff\xfe", ""),
        ('{"update": 100, "loss": [0.1, 0.1]}', "loss at update 100 has 2 values"),
        ('{"update": 100, "loss": [0.1], "validation": {"mse": []}}', "mse at update 100 has 0"),
    ],
)
def test_a_damaged_record_of_metrics_is_an_error(tmp_path, line, message):
    path = write_run(tmp_path / "a", [300]) / "metrics.jsonl"
    path.write_bytes(line.encode("latin-1") + b"\n")
    with pytest.raises(UserError, match=rf"metrics.jsonl: .*{message}"):
        read_run(tmp_path / "a")
