"""The results page: made from the runs, and up to date in this repository."""

import json
from pathlib import Path

import pytest
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.__main__ import main
from experiments.results.figures import digest, digest_of, draw_figure
from experiments.results.folder import figure_name, read_results
from experiments.results.page import has_page, page_text, rebuild, wanted_figures
from experiments.results.rows import read_rows
from experiments.results.verdict import verdict
from experiments.tasks import Adding, Copy
from tests.helpers.runs import write_run

COMMITTED = Path(__file__).parents[3] / "docs" / "results"
FRAME = """# Results

By hand.

<!-- generated: table adding -->
stale
<!-- end -->

<!-- generated: curves adding -->
<!-- end -->

<!-- generated: lengths adding -->
<!-- end -->

<!-- generated: missed adding -->
<!-- end -->
"""
BIAS = {"model.chrono_t_max": None, "model.forget_bias": 1.0}
GOALS = {
    "a2000": {"goal": {"solved": 2, "seeds": 2, "updates": 800}, "why": "The rate was\ntoo low."},
    "a200": {"goal": {"solved": 2, "seeds": 2, "updates": 800}},
    "far": {"task": "adding", "setting": "length 100,000", "goal": {"solved": 1, "seeds": 1}},
    "other": {"task": "copy", "setting": "delay 2,000"},
}


@pytest.fixture
def folder(tmp_path):
    """Two lengths, of which the longer one missed its goal, and another arm."""
    root = tmp_path / "results"
    write_run(root / "a2000", [700, 900], task=Adding(length=2000))
    write_run(root / "a200_bias", [None, 900], task=Adding(length=200), fields=BIAS)
    write_run(root / "a200", [500, 400], task=Adding(length=200))
    (root / "goals.yaml").write_text(yaml.safe_dump(GOALS))
    (root / "README.md").write_text(FRAME)
    return root


@pytest.fixture(scope="module")
def committed():
    return read_results(COMMITTED)


def test_the_committed_page_and_its_figures_are_up_to_date(committed):
    """`python -m experiments report docs/results` rebuilds them."""
    results = committed
    text = (COMMITTED / "README.md").read_text(encoding="utf-8")
    assert page_text(results) == text
    figures = wanted_figures(text)
    assert {("curves", "adding"), ("lengths", "adding"), ("curves", "copy")} <= set(figures)
    for what, task in figures:
        path = COMMITTED / figure_name(what, task)
        assert digest_of(path) == digest(draw_figure(results, what, task)), path
    for task, rows in results.rows.items():
        in_table_of_paper = all(row.declared.paper for row in rows)
        assert in_table_of_paper or f"<!-- generated: table {task} -->" in text, task
    names = {row.name for rows in results.rows.values() for row in rows}
    for name, said in results.declared.items():
        assert name in names or f"- **{said.setting}**: not run." in text, name
    kept = {path.name for path in (COMMITTED / "figures").iterdir()}
    assert kept >= {Path(figure_name(*figure)).name for figure in figures}


def test_every_task_has_rows_with_a_goal_and_says_why_where_it_is_missed(committed):
    """On the committed page; `chars` has no published figure to be compared with."""
    results = committed
    assert {"adding", "copy", "chars"} <= set(results.rows)
    for task, rows in results.rows.items():
        assert any(row.is_main for row in rows) or task == "chars"
        for row in rows:
            found = verdict(row)
            assert found is None or found.reached or row.declared.why, row.name


def test_a_page_has_its_text_and_rows_ordered_by_length_and_arm(folder):
    text = page_text(read_results(folder))
    assert text.startswith(
        "# Results\n\nBy hand.\n\n<!-- generated: table adding -->\n\n| setting |"
    )
    assert "stale" not in text
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| length")]
    assert [(line[0][2:], line[1]) for line in lines] == [
        ("length 200", "LSTM, chrono"),
        ("length 200", "LSTM, forget bias 1"),
        ("length 2,000", "LSTM, chrono to 0.1 T"),
    ]
    first = " | ".join(lines[0])
    assert "| 2 of 2<br>mastered 0 on test | 450 (400 to 500)<br>seeds 400 to 500 |" in first
    assert "14,400 (12,800 to 16,000)<br>seeds 12,800 to 16,000" in first
    assert "2 of 2 seeds within 800 updates<br>**reached**" in first
    assert "1:15 min, 2 seeds together; 2 cores of a CPU, jax 0.10.2" in first
    assert "`python -m experiments train" in first
    assert "not reached in 1,000" in " ".join(lines[1])
    missed = text.split("<!-- generated: missed adding -->")[1]
    assert (
        "- **length 2,000, LSTM, chrono to 0.1 T**: 1 of 2 seeds (1 later, after 900). Goal: 2 of"
        " 2 seeds within 800 updates. The rate was too low.\n"
        "- **length 100,000**: not run. Goal: 1 of 1 seeds.\n"
    ) in missed
    assert "length 200" not in missed
    assert "delay" not in missed


def test_runs_with_other_seeds_are_one_row_and_a_gpu_is_named(tmp_path):
    """The runs below one folder, of one config: the row has the name of that folder."""
    root = tmp_path / "results"
    for seed in (0, 2):
        run = write_run(root / "long" / str(seed), [300, 400 + 100 * seed], seed=seed)
        environment = json.loads((run / "environment.json").read_text())
        environment |= {"backend": "gpu", "device": "A GPU", "cores": 4}
        (run / "environment.json").write_text(json.dumps(environment))
    (root / "goals.yaml").write_text("long: {goal: {seeds: 4, updates: 400}, why: Bad luck.}")
    (root / "README.md").write_text(FRAME)
    (row,) = read_results(root).rows["adding"]
    assert row.name == "long"
    assert [seed.seed for seed in row.seeds] == [0, 1, 2, 3]
    text = page_text(read_results(root))
    assert "3 of 4 seeds (1 later, after 600)" in text
    assert "1:15 min, 2 seeds together; A GPU, 4 cores of a CPU" in text
    assert text.count("`python -m experiments train") == 2
    # Side by side among other rows, they have the name of the first.
    for seed in (0, 2):
        (root / "long" / str(seed)).rename(root / f"seed_{seed}")
    (row,) = read_rows(root, {})["adding"]
    assert (row.name, len(row.seeds)) == ("seed_0", 4)


def test_a_row_says_how_many_seeds_are_mastered_lost_or_diverged(tmp_path):
    root = tmp_path / "results"
    on_test = {"solved": [True, False, False], "mastered": [True, False, False]}
    write_run(root / "a", [300, 400, None], on_test=on_test, diverged=[None, None, 500])
    (root / "README.md").write_text(FRAME)
    text = page_text(read_results(root))
    assert "| 2 of 3<br>1 on test<br>mastered 1 on test<br>1 diverged |" in text


def test_what_is_drawn_again_is_what_changed(folder, capsys):
    frame = FRAME.replace("<!-- generated: curves adding -->\n<!-- end -->\n", "")
    (folder / "README.md").write_text(frame)
    assert main(["report", str(folder)]) == 0
    assert "figures/adding_lengths.png, README.md" in capsys.readouterr().out
    assert rebuild(folder) == []
    assert main(["report", str(folder)]) == 0
    assert "shows these results already" in capsys.readouterr().out
    write_run(folder / "a400", [300], task=Adding(length=400))
    assert [path.name for path in rebuild(folder)] == ["adding_lengths.png", "README.md"]
    published = [{"length": 100, "updates": 5}]
    entry = {"name": "M", "source": "S", "criterion": "C", "batch_size": 1, "points": published}
    (folder / "published.yaml").write_text(yaml.safe_dump({"adding": [entry]}))
    changed = [path.name for path in rebuild(folder)]
    assert changed == ["adding_lengths.png", "README.md"]
    assert "M: S; solved is C; updates of 1 sequences." in (folder / "README.md").read_text()


def test_a_digest_is_that_of_all_that_a_figure_shows(folder):
    def found(**changes):
        figure = draw_figure(read_results(folder), "curves", "adding")
        (axes,) = figure.axes
        axes.set(**{name: value for name, value in changes.items() if name != "color"})
        axes.lines[0].set(**{name: value for name, value in changes.items() if name == "color"})
        return digest(figure)

    before = found()
    assert before == found()
    others = [found(title="t"), found(ylabel="y"), found(xscale="linear"), found(color="red")]
    write_run(folder / "more" / "0", [800], task=Adding(length=2000), seed=7)
    assert len({before, found(), *others}) == 6


def test_lengths_have_a_value_for_every_seed(folder, capsys):
    path = folder / "a200" / "lengths.json"
    path.write_text('{"mse": {"400": [0.1, 0.2, 0.3]}}')
    assert main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert f"{path}: mse at length 400 has 3 values; the run has 2 seeds" in error


def test_with_flags_the_folder_of_a_page_is_reported_like_any_other(folder, capsys, monkeypatch):
    monkeypatch.setattr(FigureCanvasAgg, "print_png", lambda self, path: Path(path).touch())
    before = (folder / "README.md").read_text()
    assert main(["report", str(folder), "--out", "none"]) == 0
    assert "solves sooner" in capsys.readouterr().out
    assert (folder / "README.md").read_text() == before
    assert has_page(folder)
    assert not has_page(folder / "a200")
    (folder / "a200" / "README.md").write_bytes(b"caf\xe9")
    assert not has_page(folder / "a200")


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        (
            "<!-- generated: tabel adding -->",
            "one of table, missed, curves, lengths, extrapolation",
        ),
        ("<!-- generated: table addin -->", "no run of the task addin; did you mean adding?"),
        ("<!-- generated: extrapolation adding -->", "no run of the task has a lengths.json"),
        ("<!-- generated: paper 1996 -->", "paper: must be 1997; got 1996"),
        ("<!-- generated: table -->", "<!-- generated: table -->: must be"),
    ],
)
def test_a_wrong_marker_is_one_line(folder, capsys, marker, expected):
    (folder / "README.md").write_text(f"{marker}\n<!-- end -->\n")
    assert main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert len(error.splitlines()) == 1


def test_a_part_without_an_end_is_an_error(folder, capsys):
    (folder / "README.md").write_text("<!-- generated: table adding -->\ntext by hand\n")
    assert main(["report", str(folder)]) == 2
    assert "with an end" in capsys.readouterr().err


def test_two_rows_are_told_apart(folder, capsys):
    write_run(folder / "faster", [300], task=Adding(length=200), learning_rate=0.02)
    (folder / "README.md").write_text("<!-- generated: table adding -->\n<!-- end -->\n")
    assert main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "a200 and faster are both length 200, LSTM, chrono; give one of them" in error
    (folder / "goals.yaml").write_text("faster: {arm: 'LSTM, chrono, rate 0.02'}")
    assert main(["report", str(folder)]) == 0
    assert "| length 200 | LSTM, chrono, rate 0.02 |" in (folder / "README.md").read_text()


def test_a_run_that_is_not_finished_is_not_for_the_page(folder, capsys):
    write_run(folder / "copy", [300], task=Copy(delay=5), finished=False)
    assert main(["report", str(folder)]) == 2
    assert "copy: not finished; the results page has finished runs only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a200: {gaol: {seeds: 1}}", "goals.yaml: a200.gaol: Unexpected keyword argument"),
        ("a200: {goal: {seeds: 0}}", "a200.goal.seeds: Input should be greater than or equal to 1"),
        ("a200: {paper: '2a, p = 99'}", "a200.paper: there is no result 2a, p = 99; did you mean"),
        ("a200: {goal: {times_paper: 2.0}}", "a200.goal.times_paper: needs paper"),
        ("a200: {goal: {updates: 800}}", "a200.goal.updates: needs seeds, the number to train"),
        ("a200: {goal: {solved: 3, seeds: 2}}", "a200.goal.solved: must be at most seeds (2)"),
        ("gone: {goal: {seeds: 1}}", "gone is declared, and there is no run; give task and sett"),
    ],
)
def test_a_wrong_goal_is_named(folder, capsys, content, expected):
    (folder / "goals.yaml").write_text(content)
    assert main(["report", str(folder)]) == 2
    assert expected in capsys.readouterr().err
