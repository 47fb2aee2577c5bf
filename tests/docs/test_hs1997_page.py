"""The page about the experiments of 1997 has the goals of the code and the numbers of the paper."""

import re
from fractions import Fraction
from pathlib import Path

import pytest

from experiments.tasks import Goal
from experiments.tasks.hs1997.paper import PAPER

PAGE = (Path(__file__).parents[2] / "docs" / "experiments" / "hs1997.md").read_text()
ROWS = [row for row in PAPER if row.task is not None]


def cells(title):
    """The rows of the first table of a section, without its head."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def number(text):
    return float(Fraction(text.replace(",", "")))


def goal_of(text):
    """A goal as the page writes it."""
    (metric, value), *also = re.findall(r"(\w+) < ([\d.,/]+)", text)
    return Goal(metric, "<", number(value), also=goal_of("".join(f"{m} < {v}" for m, v in also))
                if also else None)  # fmt: skip


def experiments(cell):
    return cell.split(", ")


def test_every_experiment_is_defined_with_its_task():
    found = {experiment: row[1].strip("`") for row in cells("The tasks")
             for experiment in experiments(row[0])}  # fmt: skip
    assert found == {row.experiment: row.task.name for row in ROWS}


@pytest.mark.parametrize("row", cells("When a task is solved"), ids=lambda row: row[0])
def test_the_criteria_are_those_of_the_goals(row):
    for experiment in experiments(row[0]):
        task = next(each.task for each in ROWS if each.experiment == experiment)
        solved, _, mastered = row[2].partition("; *mastered*: ")
        expected = goal_of(solved)
        assert task.solved == expected
        if not mastered:
            assert task.mastered is None
        elif mastered.startswith("and "):
            also = goal_of(mastered)
            assert task.mastered == Goal(expected.metric, "<", expected.threshold, also=also)
        else:
            assert task.mastered == goal_of(mastered)


def test_the_results_have_the_paper_s_numbers():
    table = cells("Results")
    paper = {(row.experiment, row.setting): row.sequences for row in ROWS}
    assert {(row[0], row[1]): int(row[2].replace(",", "")) for row in table} == paper
