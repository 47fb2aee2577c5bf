"""Goals of rows, and by how much they were missed."""

import json

import pytest

from experiments.results.declared import Declared, LengthGoal, RowGoal
from experiments.results.rows import read_rows
from experiments.results.tables import for_a_new_seed, rows_table
from experiments.results.verdict import verdict
from experiments.tasks import Adding
from tests.helpers.runs import write_run


@pytest.fixture
def row(tmp_path):
    """The row of one run, with a goal of these fields."""

    def make(goal, solved_at, **settings):
        path = write_run(tmp_path / "run", solved_at, task=Adding(length=200), **settings)
        lengths = {"mse": {"400": [0.1, 0.3, 0.2, *[0.2] * 7][: len(solved_at)]}}
        (path / "lengths.json").write_text(json.dumps(lengths))
        (rows,) = read_rows(tmp_path, {"run": Declared(RowGoal(**goal))}).values()
        return rows[0]

    return make


FIVE = {"solved": 4, "seeds": 5, "updates": 600}


@pytest.mark.parametrize(
    ("goal", "solved_at", "missed"),
    [
        (FIVE, [400, 500, 600, 600, 900], ""),
        (FIVE, [400, 500, 600, 700, 900], "3 of 5 seeds (2 later, after 700, 900)"),
        (FIVE, [400, 500, 600, None, 900], "3 of 5 seeds (1 later, after 900; 1 not in 1,000)"),
        (FIVE, [400, 500], "2 of 5 seeds trained"),
        # With more seeds, the share has to be as high: 8 of 10.
        (FIVE, [400] * 8 + [900] * 2, ""),
        (FIVE, [400] * 7 + [900] * 3, "7 of 10 seeds (3 later, after 900, 900, 900)"),
        ({"seeds": 2}, [400, None], "1 of 2 seeds (1 not in 1,000)"),
        ({"seeds": 1, "sequences": 32 * 400}, [400], ""),
        ({"seeds": 1, "sequences": 32 * 400 - 1}, [400], "0 of 1 seeds (1 later, after 400)"),
        ({"seeds": 1, "seconds": 80.0}, [400], ""),
        ({"seeds": 1, "seconds": 60.0}, [400], "took 1:15 min"),
        ({"at": (LengthGoal(400, "mse", 0.21),)}, [400] * 3, ""),
        (
            {"at": (LengthGoal(400, "mse", 0.1),)},
            [400] * 3,
            "mse 0.2 at length 400, 2 times as high",
        ),
        ({"at": (LengthGoal(800, "mse", 0.1),)}, [400] * 3, "mse at length 800 not measured"),
    ],
)
def test_a_goal_is_reached_or_missed_by_so_much(row, goal, solved_at, missed):
    found = verdict(row(goal, solved_at))
    assert found.reached == (missed == "")
    assert "; ".join(found.missed) == missed


def test_a_row_with_a_goal_at_another_length_shows_what_was_measured_there(row):
    made = row({"at": (LengthGoal(400, "mse", 0.21), LengthGoal(800, "mse", 0.1))}, [400] * 3)
    assert "<br>mse 0.2 (0.1 to 0.3) at length 400 |" in rows_table([made])


def test_a_goal_at_another_length_is_of_all_seeds(tmp_path):
    for seed in (0, 2):
        write_run(tmp_path / "run" / str(seed), [400, 400], seed=seed)
    (tmp_path / "run" / "0" / "lengths.json").write_text('{"mse": {"400": [0.1, 0.1]}}')
    goal = RowGoal(at=(LengthGoal(400, "mse", 0.2),))
    (rows,) = read_rows(tmp_path, {"run": Declared(goal)}).values()
    assert verdict(rows[0]).missed == ("mse at length 400 measured of 2 of 4 seeds",)


def test_a_seed_that_is_lost_again_counts_where_it_has_to_stay(row):
    made = row({"seeds": 2, "stays": True}, [400, 500], on_test={"solved": [True, False]})
    assert verdict(made).missed == ("1 of 2 seeds (1 solved and lost again)",)


def test_a_row_without_a_goal_has_no_verdict(tmp_path):
    write_run(tmp_path / "run", [400])
    (rows,) = read_rows(tmp_path, {}).values()
    assert verdict(rows[0]) is None
    assert not rows[0].is_main


def test_the_range_for_a_new_seed_is_that_of_the_seeds_and_half_of_it_on_each_side():
    assert for_a_new_seed(700, 1300, 100) == (400, 1600)
    assert for_a_new_seed(400, 900, 100) == (100, 1200)  # 150 and 1,150, outwards
    assert for_a_new_seed(200, 900, 100) == (100, 1300)  # never below the first evaluation
    assert for_a_new_seed(600, 600, 100) == (500, 700)  # an evaluation on each side at least
