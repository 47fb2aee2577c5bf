"""The tables, their notes, and how they fit a terminal, Markdown and CSV."""

import csv
import io

import pytest
from rich.console import Console

from experiments.report.arms import make_sections
from experiments.report.csv_table import FIXED, as_csv
from experiments.report.markdown import as_markdown, markdown_table
from experiments.report.run_table import run_table
from experiments.report.runs import find_runs, read_run
from experiments.report.tables import (
    ALL_PAIRS,
    Cell,
    Table,
    arms_table,
    explanation,
    notes,
    pairs_table,
)
from experiments.report.terminal import print_table
from experiments.tasks import Adding, Copy
from tests.helpers.runs import write_run


def section_of(tmp_path, **settings):
    (section,) = make_sections([read_run(p) for p in find_runs([tmp_path])], **settings)
    return section


def cells(table):
    return [[tuple(cell) for cell in row] for row in table.rows]


@pytest.fixture
def two_arms(tmp_path):
    write_run(tmp_path / "slow", [900, None, None, None], learning_rate=1e-3)
    write_run(tmp_path / "fast", [300, 400, 500, 600], learning_rate=0.1)
    return section_of(tmp_path)


def test_an_arm_has_its_seeds_its_median_time_and_its_mean(two_arms):
    table = arms_table(two_arms)
    assert table.columns == ["arm", "solved", "updates to solve", "test mse"]
    slow, fast = table.rows
    assert slow[:2] == [Cell("A  learning_rate 0.001"), Cell("1 of 4")]
    assert slow[2] == Cell("not reached", "900 or later")
    assert slow[3].main == "0.075"
    assert fast[1:3] == [Cell("4 of 4"), Cell("450", "300 to 600")]
    assert fast[3] == Cell("0.0001", "0.0001 to 0.0001")


def test_pairs_have_the_probability_its_interval_and_the_chance(two_arms):
    table = pairs_table(two_arms)
    assert table.columns == ["pair", "solves sooner", "lower test mse"]
    ((pair, sooner, better),) = table.rows
    assert pair == Cell("A over B")
    assert sooner == Cell("0.00", "no pair, p 0.029")
    # One of four seeds is equal to the others: 4 / 16 pairs, each counted half.
    assert better.main == "0.12"
    assert notes(two_arms) == [
        "The configs differ in optimizer.learning_rate: 0.001 (A), 0.1 (B)."
        " All other fields are equal.",
        "Baselines of mse: always answer 1: 0.1667, one operand known: 0.08333.",
    ]


def test_higher_is_better_where_the_goal_says_so(tmp_path):
    recall = {"task": Copy(delay=5)}
    write_run(tmp_path / "a", [300, 300], learning_rate=1e-3, test=[0.2, 0.3], **recall)
    write_run(tmp_path / "b", [300, 300], learning_rate=1e-2, test=[0.1, 0.4], **recall)
    for name in "ab":  # as if the metric were one that should be high
        for path in (tmp_path / name).iterdir():
            path.write_text(path.read_text().replace("cross_entropy", "recall_accuracy"))
    table = pairs_table(section_of(tmp_path, metric="recall_accuracy"))
    assert table.columns[-1] == "higher test recall_accuracy"
    assert table.rows[0][2].main == "0.50"


def test_one_arm_has_no_pairs_and_one_seed_no_interval(tmp_path):
    write_run(tmp_path / "a", [300])
    section = section_of(tmp_path)
    assert pairs_table(section) is None
    assert cells(arms_table(section)) == [
        [("A  adding, length 50", ""), ("1 of 1", ""), ("300", ""), ("0.0001", "")]
    ]
    assert notes(section)[0] == "One config, 1 seed."
    assert notes(section)[-1] == "One seed has no interval: A."
    assert "p:" not in explanation([section])


def test_diverged_seeds_are_counted_and_named(tmp_path):
    write_run(tmp_path / "a", [300, None, 400], diverged=[None, 700, None], seed=3)
    section = section_of(tmp_path)
    assert arms_table(section).rows[0][1:] == [
        Cell("2 of 3", "1 diverged"),
        Cell("400", "300 or later"),
        Cell("0.0001", "0.0001 to 0.0001, 2 of 3 seeds"),
    ]
    assert f"A: diverged in {tmp_path / 'a'}: seed 4 at update 700." in notes(section)


def test_seeds_solved_while_training_but_not_on_test_sequences_are_told_apart(tmp_path):
    write_run(tmp_path / "a", [300, 400], on_test={"solved": [True, False]})
    assert arms_table(section_of(tmp_path)).rows[0][1] == Cell("2 of 2", "1 on test")


def test_an_arm_that_never_solves_has_the_updates_that_it_had(tmp_path):
    write_run(tmp_path / "a", [None, None])
    assert arms_table(section_of(tmp_path)).rows[0][2] == Cell("not reached", "in 1,000")


def test_a_run_that_is_not_finished_is_named(tmp_path):
    write_run(tmp_path / "a", [300, None], finished=False, until=500)
    write_run(tmp_path / "b", [None, None], learning_rate=1.0, finished=False, until=500)
    section = section_of(tmp_path)
    assert arms_table(section).rows[0][1:] == [
        Cell("1 of 2"),
        Cell("not reached", "300 or later"),
        Cell("none"),
    ]
    assert pairs_table(section).rows[0][2] == Cell("not finished")
    assert f"A: {tmp_path / 'a'} is not finished: 500 of 1,000 updates." in notes(section)


def test_with_many_arms_the_best_is_compared_with_the_next_ones(tmp_path):
    for i in range(ALL_PAIRS + 1):
        write_run(tmp_path / str(i), [300], learning_rate=0.1 + i, test=[abs(i - 2.1) + 1.0])
    table = pairs_table(section_of(tmp_path))
    assert [row[0].main for row in table.rows] == [f"C over {key}" for key in "DBEAFG"]


def test_many_values_of_a_field_are_a_range(tmp_path):
    for i in range(9):
        write_run(tmp_path / str(i), [300], learning_rate=(i + 1) / 7)
    note = notes(section_of(tmp_path))[0]
    assert "optimizer.learning_rate: 9 values, 0.1429 to 1.286. All" in note


def test_many_arms_of_one_value_are_counted(tmp_path):
    for i in range(10):
        fields = {"model.hidden_size": 7 if i else 8}
        write_run(tmp_path / str(i), [300], learning_rate=0.1 + i, fields=fields)
    assert "model.hidden_size: 7 (9 arms), 8 (J);" in notes(section_of(tmp_path))[0]


def test_pooled_fields_are_named(tmp_path):
    for rate in (0.1, 0.01):
        write_run(tmp_path / str(rate), [300], learning_rate=rate)
    section = section_of(tmp_path, by=["task.length"])
    assert notes(section)[0] == "One config, 2 seeds."
    assert "Runs that differ in optimizer.learning_rate (0.01, 0.1) are one arm." in notes(section)


TABLE = Table(
    "a title",
    ["arm", "updates to solve", "test mse"],
    [[Cell("A  a name, of several words"), Cell("450", "300 to 600"), Cell("0.1", "0.05 to 0.2")]],
)


def printed(width):
    console = Console(file=io.StringIO(), width=width)
    print_table(console, TABLE)
    lines = console.file.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    return [line.rstrip() for line in lines]


def test_a_wide_terminal_has_one_line_a_row():
    assert printed(100)[1:] == [
        "arm                           updates to solve   test mse",
        "─" * 66,
        "A  a name, of several words   450 (300 to 600)   0.1 (0.05 to 0.2)",
    ]


def test_a_narrower_one_has_the_intervals_below():
    assert printed(64)[-2:] == [
        "A  a name, of several words   450                0.1",
        "                              300 to 600         0.05 to 0.2",
    ]


def test_names_are_wrapped_before_rows_become_lists():
    assert printed(58)[-2:] == [
        "A  a name,            450                0.1",
        "   of several words   300 to 600         0.05 to 0.2",
    ]


def test_at_40_columns_every_row_is_a_list():
    assert printed(40) == [
        "a title",
        "A  a name, of several words",
        "   updates to solve  450 (300 to 600)",
        "   test mse          0.1 (0.05 to 0.2)",
    ]


def test_markdown_keeps_bars_and_line_breaks_in_their_cells():
    assert markdown_table(["a|b"], [["1\n2"]]).splitlines() == [
        "| a\\|b |",
        "| --- |",
        "| 1<br>2 |",
    ]
    assert as_markdown(TABLE).splitlines()[-1] == (
        "| A  a name, of several words | 450 (300 to 600) | 0.1 (0.05 to 0.2) |"
    )


def test_csv_has_a_row_for_every_seed(tmp_path):
    odd = 'a, "b"\nc'
    write_run(tmp_path / odd, [300, None], diverged=[None, 400])
    write_run(tmp_path / "b", [None], learning_rate=0.1, finished=False, until=500)
    write_run(tmp_path / "c", [700], task=Copy(delay=5))
    sections = make_sections([read_run(p) for p in find_runs([tmp_path])])
    rows = list(csv.DictReader(io.StringIO(as_csv(sections), newline="")))
    assert list(rows[0]) == [
        *FIXED,
        *("solved_at", "solved_on_test", "mastered_at", "mastered_on_test"),
        *("test.mse", "test.cross_entropy", "optimizer.learning_rate"),
    ]
    assert [(r["task"], r["seed"], r["finished"], r["updates"]) for r in rows] == [
        ("adding", "0", "true", "1000"),
        ("adding", "1", "true", "400"),
        ("adding", "0", "false", "500"),
        ("copy", "0", "true", "1000"),
    ]
    assert rows[0]["run"] == str(tmp_path / odd)
    assert rows[0]["arm"] == "learning_rate 0.01"
    assert [r["solved_at"] for r in rows] == ["300", "", "", "700"]
    assert [r["solved_on_test"] for r in rows] == ["true", "false", "", "true"]
    assert [r["diverged_at"] for r in rows] == ["", "400", "", ""]
    assert [r["test.mse"] for r in rows] == ["0.0001", "0.1", "", ""]
    assert [r["optimizer.learning_rate"] for r in rows] == ["0.01", "0.01", "0.1", ""]


def test_the_run_table_has_finished_runs(tmp_path):
    write_run(tmp_path / "a", [300, None], diverged=[None, 400], task=Adding(length=7))
    write_run(tmp_path / "b", [300], finished=False)
    table = run_table([read_run(p) for p in find_runs([tmp_path])])
    (row,) = table.splitlines()[2:]
    assert row == (
        "| adding, length 7 | mse 0.05005 ± 0.071 | 1 of 2 seeds (mse < 0.001)"
        "<br>first after 300 updates<br>1 diverged | 400 to 1,000 | 12,800 to 32,000"
        " | 1:15 min, all seeds together | 2 cores of a CPU, jax 0.10.2"
        f" | `python -m experiments train {tmp_path / 'a'}` |"
    )
