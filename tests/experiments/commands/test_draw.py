"""The command draw: its figures, its files and its errors."""

import dataclasses
import json
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.__main__ import main
from experiments.commands.draw import DRAW, NAMES, _labels
from experiments.tasks import Copy
from tests.helpers.runs import write_run
from tests.helpers.saved_runs import CONFIG, save_run


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("one", "other"):
        save_run(folder / name)
    return folder


@pytest.fixture
def folder(saved, monkeypatch):
    monkeypatch.chdir(saved)
    # Drawing takes a second a figure; tests/experiments/inspection draws.
    monkeypatch.setattr(FigureCanvasAgg, "print_png", lambda self, path: Path(path).touch())
    return saved


def test_lengths_of_two_runs_are_drawn_and_written_beside_each(folder, capsys):
    words = ["--figure", "lengths", "--lengths", "4,6", "--sequences", "12", "--out", "figures"]
    assert main(["draw", "A=one", "other", *words]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("A, length 4: mse ")
    assert out[3].startswith("other, length 6: mse ")
    assert out[4:] == ["figures/lengths.png", "figures/lengths_within_0.04.png"]
    for run in ("one", "other"):
        found = json.loads(Path(run, "lengths.json").read_text())
        assert {metric: [*values] for metric, values in found.items()} == {
            "mse": ["4", "6"], "within_0.04": ["4", "6"],
        }  # fmt: skip
        assert all(len(values) == 2 for values in found["mse"].values())


@pytest.mark.parametrize(
    "name", ["timescales", "gradient", pytest.param("operands", marks=pytest.mark.slow)]
)
def test_a_figure_of_one_run_is_written_to_its_folder(folder, capsys, name):
    assert main(["draw", "one", "--figure", name, "--sequences", "12"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"one/figures/{name}.png"
    assert Path("one", "figures", f"{name}.png").exists()


def test_runs_of_two_tasks_are_not_drawn_together(folder, capsys):
    save_run(folder / "copy", dataclasses.replace(CONFIG, task=Copy(delay=4)))
    assert main(["draw", "one", "copy", "--figure", "lengths"]) == 2
    assert "draw: runs must be of one task; got adding, copy" in capsys.readouterr().err


def test_lengths_that_cannot_be_written_are_one_line(folder, capsys):
    save_run(folder / "full")
    Path("full", "lengths.json").mkdir()
    words = ["--figure", "lengths", "--lengths", "4", "--sequences", "2"]
    assert main(["draw", "full", *words]) == 2
    assert "full/lengths.json: cannot be written: " in capsys.readouterr().err


def test_the_folder_of_a_point_of_a_sweep_is_no_name(saved):
    point = saved / "learning_rate=0.01,hidden_size=3"
    point.mkdir(exist_ok=True)
    assert _labels([str(point)]) == {point.name: point}
    assert _labels([f"fast={point}"]) == {"fast": point}
    assert _labels(["one/"]) == {"one": Path("one")}


def test_every_name_has_a_function_and_is_on_the_page():
    assert set(NAMES) == set(DRAW)
    page = (Path(__file__).parents[3] / "docs" / "experiments" / "memory_figures.md").read_text()
    assert all(f"--figure {name}" in page for name in NAMES)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "WORKDIR is missing"),
        (["one"], "--figure: must be one of lengths, timescales, gradient, operands, gates, task"),
        (["one", "--figure", "lenghts"], "got lenghts; did you mean lengths?"),
        (["one", "--figure", "lengths", "--lengths", "4,x"], "whole numbers from 1 on; got 'x'"),
        (["one", "--figure", "gates", "--sequences", "0"], "--sequences: must be whole numbers"),
        (["one", "--figure", "lengths", "--lengths", "1"], "length: must be at least 2; got 1"),
        (["one", "--figure", "gates", "--lengths", "4"], "--lengths is for --figure lengths"),
        (["one", "other", "--figure", "timescales"], "timescales is of one WORKDIR; got 2"),
        (["one", "one", "--figure", "gradient"], "two runs have one name; write NAME=WORKDIR"),
        (["gone", "--figure", "gates"], "there is no folder gone"),
        (["bare", "--figure", "gates"], "bare has no checkpoint yet"),
        (["one", "--figure", "gates", "--out", "one/config.yaml"], "one/config.yaml"),
    ],
)
def test_bad_usage_is_a_short_message(folder, capsys, words, expected):
    if not Path("bare").exists():
        write_run("bare", [300])
    assert main(["draw", *words]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert len(error.splitlines()) == 1
