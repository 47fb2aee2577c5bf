"""The table of the paper's results: weights are counted, and settings are tasks."""

import itertools

import pytest

from experiments.tasks.hs1997.paper import PAPER, PaperNetwork

WEIGHTS = {
    "4 blocks of 1": 264, "3 blocks of 2": 276, "2a": 10_504, "2b": 10_504, "p = 50": 364,
    "p = 100": 664, "p = 200": 1264, "p = 500": 3064, "p = 1000": 6064, "3": 102, "4": 93,
    "5": 93, "6a": 156, "6b": 308,
}  # fmt: skip
"""The numbers of weights in the paper's tables."""


def printed(row):
    """The number of weights that the paper prints for a row."""
    match row.experiment:
        case "1":
            return WEIGHTS[row.setting.split(",")[0]]
        case "2c":
            return WEIGHTS[row.setting.split(", ")[1]]
        case "3a" | "3b" | "3c":
            return WEIGHTS["3"]
    return WEIGHTS[row.experiment]


@pytest.mark.parametrize("row", PAPER, ids=lambda row: f"{row.experiment}, {row.setting}")
def test_weights_are_counted_as_in_the_paper(row):
    assert row.network.weights == printed(row)


@pytest.mark.parametrize("row", PAPER, ids=lambda row: f"{row.experiment}, {row.setting}")
def test_a_row_has_a_task_of_the_network_s_sizes_and_a_goal(row):
    if row.experiment == "1":
        assert row.task is None
        assert row.goal == "mastered"  # all strings are right, where solved is 99 % of them
        return
    assert (row.task.input_size, row.task.output_size) == (row.network.inputs, row.network.outputs)
    assert getattr(row.task, row.goal) is not None
    assert getattr(row.task, "experiment", row.experiment) == row.experiment
    network = row.network
    for biases in (network.input_gate_bias, network.output_gate_bias):
        assert biases is None or len(biases) == network.blocks


def test_rows_differ_and_later_criteria_take_longer():
    assert len({(row.experiment, row.setting) for row in PAPER}) == len(PAPER) == 37
    for before, after in itertools.pairwise(PAPER):
        if before.task is not None and before.task == after.task:
            assert (before.goal, after.goal) == ("solved", "mastered")
            assert before.sequences < after.sequences


def test_a_network_without_biases_or_with_all_of_them():
    counts = [
        PaperNetwork(2, 1, 2, 2, biases).weights for biases in ("none", "gates", "hidden", "all")
    ]
    assert counts == [84, 88, 92, 93]
