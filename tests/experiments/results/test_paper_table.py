"""The results of 1997 beside those of rows that repeat them."""

import json

import pytest

from experiments.results.declared import Declared, RowGoal
from experiments.results.paper import NAMES, paper_results
from experiments.results.paper_table import mean_sequences, paper_table
from experiments.results.rows import read_rows
from experiments.results.verdict import verdict
from experiments.tasks import Reber
from experiments.tasks.hs1997 import TemporalOrder1997
from experiments.tasks.hs1997.paper import PAPER
from tests.helpers.runs import write_run


@pytest.fixture
def row(tmp_path):
    """A row with experiment 6a, which takes 31,390 sequences in the paper, and this goal."""

    def make(solved_at, times_paper, arm="today"):
        path = tmp_path / arm
        task, fields = TemporalOrder1997(experiment="6a"), {"train.stop_when": "solved"}
        write_run(path, solved_at, task=task, test=[0.25, 0.05], fields=fields)
        declared = Declared(RowGoal(times_paper=times_paper), arm=arm, paper="6a")
        (rows,) = read_rows(path, {".": declared}).values()
        return rows[0]

    return make


def test_every_result_of_the_paper_has_a_name_of_its_own():
    assert len(NAMES) == len(PAPER)
    assert all(paper_results(name) == [result] for name, result in NAMES.items())
    assert [result.setting for result in paper_results("2c, q = 1000, p = 50")] == [
        "q = 1000, p = 50"
    ]
    assert len(paper_results("3a, T = 100, N = 3")) == 2
    assert len(paper_results("1")) == 5
    assert paper_results("7") == paper_results("2c, q = 1") == []


def test_a_row_stands_beside_the_result_that_it_repeats(row):
    rows = [row([100, 300], 0.5), row([None, 800], 2.0, arm="as in 1997")]
    lines = paper_table(rows).splitlines()
    assert lines[0] == "| experiment | setting | paper | today | as in 1997 |"
    assert len(lines) == 2 + len(PAPER)
    (line,) = [line for line in lines if line.startswith("| 6a |")]
    assert line == (
        "| 6a | two symbols | 100% of 20<br>31,390 sequences<br>0.04% wrong"
        " | 100% of 2<br>6,400 sequences, 0.2 times"
        " | 50% of 2<br>25,600 sequences, 0.82 times |"
    )
    (other,) = [line for line in lines if line.startswith("| 6b |")]
    assert other.endswith("571,100 sequences<br>0.08% wrong |  |  |")


def test_the_share_of_wrong_sequences_is_that_of_the_test(row):
    made = row([100, 300], 0.5)
    for seed, wrong in zip(made.seeds, (0.25, 0.05), strict=True):
        seed.test["wrong"] = wrong
    assert "6,400 sequences, 0.2 times<br>15.00% wrong |" in paper_table([made])


@pytest.mark.parametrize(
    ("solved_at", "times_paper", "missed"),
    [
        ([100, 300], 0.5, ()),
        ([100, 300], 0.2, ("6a, two symbols: 6,400 sequences, 0.2 times the paper's",)),
        ([None, 300], 0.5, ("6a, two symbols: 50% of the seeds, in the paper 100%",)),
        ([None, None], 0.5, ("6a, two symbols: 0% of the seeds, in the paper 100%",)),
    ],
)
def test_the_goal_is_the_success_of_the_paper_in_so_many_of_its_sequences(
    row, solved_at, times_paper, missed
):
    found = verdict(row(solved_at, times_paper))
    assert found.missed == missed
    assert found.reached == (missed == ())


def test_a_share_of_success_is_compared_in_whole_per_cent(tmp_path):
    for lost, reached in ((1, True), (2, False)):
        path = tmp_path / str(lost)
        write_run(path, [100] * 30, task=Reber())
        summary = json.loads((path / "summary.json").read_text())
        # The paper asks for all strings of the test set.
        summary["goals"]["mastered"]["first_at_update"] = [None] * lost + [100] * (30 - lost)
        (path / "summary.json").write_text(json.dumps(summary))
        declared = Declared(RowGoal(times_paper=1.0), paper="1, 4 blocks of 1, learning rate 0.5")
        (rows,) = read_rows(path, {".": declared}).values()
        assert verdict(rows[0]).reached == reached


def test_the_mean_is_over_the_seeds_that_reached_the_goal(row):
    made = row([None, 300], 0.5)
    assert mean_sequences(made, "solved") == (1, 9600.0)
    count, mean = mean_sequences(made, "mastered")
    assert count == 0
    assert mean != mean
