"""The summary of a run as text."""

import json
from pathlib import Path

import pytest

from experiments.run.summary import metric_rows, render
from tests.helpers.runs import write_run


def rendered(folder, solved_at, mastered_at=None, **settings):
    path = write_run(folder, solved_at, **settings) / "summary.json"
    summary = json.loads(path.read_text())
    if mastered_at is not None:
        summary["goals"]["mastered"]["first_at_update"] = mastered_at
    return render(summary, Path("runs/x")).splitlines()


def row(lines, label):
    (found,) = [line for line in lines if line.strip().startswith(label)]
    return found.strip().removeprefix(label).strip()


def test_a_verdict_says_on_which_sequences(tmp_path):
    """Mastered while training and not on test sequences is no contradiction if both are said."""
    lines = rendered(tmp_path / "a", [300], [600], on_test={"solved": [True], "mastered": [False]})
    assert lines[0] == "adding, length 50: solved, not mastered on test sequences"
    assert row(lines, "solved (mse < 0.001)") == "after 300 updates, 9,600 sequences"
    assert row(lines, "mastered (within_0.04 >= 0.99)") == (
        "after 600 updates, 19,200 sequences on validation sequences, but not on test sequences"
    )


@pytest.mark.parametrize(
    ("solved_at", "on_test", "text"),
    [
        ([300, 400], [True, True], "after 300 to 400 updates, 9,600 to 12,800 sequences"),
        ([300, None], [True, False], "after 300 updates, 9,600 sequences (1 of 2 seeds)"),
        (
            [300, 400],
            [True, False],
            "after 300 to 400 updates, 9,600 to 12,800 sequences on validation sequences,"
            " but 1 of 2 seeds on test sequences",
        ),
        ([None, None], [False, False], "not reached"),
        (
            [None, None],
            [False, True],
            "not reached on validation sequences, but 1 of 2 seeds on test sequences",
        ),
        ([None], [True], "not reached on validation sequences, but reached on test sequences"),
    ],
)
def test_when_a_goal_was_reached(tmp_path, solved_at, on_test, text):
    lines = rendered(tmp_path / "a", solved_at, on_test={"solved": on_test})
    assert row(lines, "solved (mse < 0.001)") == text


def test_diverged_seeds_are_named(tmp_path):
    lines = rendered(tmp_path / "a", [300, None], diverged=[None, 500], test=[1e-4, None], seed=2)
    assert row(lines, "seed 3 diverged") == "loss became inf at update 500"
    assert row(lines, "mse, reached") == "0.0001 (1 of 2 seeds)"
    assert "diverged" not in "\n".join(rendered(tmp_path / "b", [300]))


def test_a_metric_that_no_seed_has():
    assert metric_rows("mse", {"mse": [float("nan"), None]}, {}) == [
        ("mse, reached", "none (0 of 2 seeds)")
    ]
