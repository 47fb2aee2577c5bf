"""The page about tasks has a row and a section for every task, with the goals of the code."""

import re
from pathlib import Path

import pytest

from experiments.tasks import TASKS

PAGE = (Path(__file__).parents[2] / "docs" / "experiments" / "tasks.md").read_text()
ROWS = {row[0]: row[1:] for row in re.findall(
    r"^\| \[`(\w+)`\]\(#([\w-]+)\) \|(.*?)\|(.*?)\|(.*?)\|(.*?)\|(.*?)\|$", PAGE, re.M
)}  # fmt: skip
SECTIONS = {re.sub(r"\W+", "-", title.lower()) for title in re.findall(r"^## (.+)$", PAGE, re.M)}


def test_every_task_has_a_row_and_a_section():
    assert ROWS.keys() == TASKS.keys()
    assert {section for section, *_ in ROWS.values()} <= SECTIONS


@pytest.mark.parametrize("name", TASKS)
def test_the_row_has_the_threshold_at_which_the_task_is_solved(name):
    solved = ROWS[name][4]
    goal = TASKS[name]().solved
    threshold = str(goal.threshold)
    percent = f"{goal.threshold:.0%}".replace("%", " %")
    assert threshold in solved or percent in solved or name == "chars"
