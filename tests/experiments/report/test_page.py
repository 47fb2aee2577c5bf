"""The page about reports does what it says."""

import re
import shlex
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.__main__ import main
from experiments.report.csv_table import FIXED
from tests.helpers.runs import write_run

PAGE = Path(__file__).parents[3] / "docs" / "experiments" / "report.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


@pytest.fixture
def rates(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(FigureCanvasAgg, "print_png", lambda self, path: Path(path).touch())
    for rate, solved_at in ((0.001, None), (0.003, None), (0.01, 600), (0.03, 400)):
        write_run(Path("runs/rates") / str(rate), [solved_at] * 5, learning_rate=rate)


def test_its_commands_run_and_print_its_tables(rates, capsys):
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    commands = [shlex.split(line)[3:] for line in lines if line.startswith("python -m experiments")]
    assert [words[0] for words in commands] == ["report"] * 4
    printed = []
    for words in commands:
        assert main(words) == 0
        printed.append(capsys.readouterr().out)

    def first_words(text):
        """The titles, the columns and the names of the rows, without their numbers."""
        lines = [line.strip("─") for line in text.splitlines()[1:15]]
        return [re.split(r"\s{3,}", line.strip())[0] for line in lines]

    (shown,) = blocks("text")
    assert first_words(shown) == first_words(printed[0])
    header = printed[-1].splitlines()[0].split(",")
    for column in FIXED + [name for name in header if name.endswith(("_at", "_on_test"))]:
        assert f"`{column}`" in TEXT, column
    files = {path.name for path in Path("runs/report").iterdir()}
    assert {"learning_curves.png", "survival.png", "report.csv", "report.md"} <= files
    assert all(f"`{name}`" in TEXT for name in files if "against" not in name)


def test_its_python_runs():
    for code in blocks("python"):
        exec(compile(code, PAGE.name, "exec"), {})


def test_its_pictures_exist():
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert len(pictures) == 3
    for picture in pictures:
        assert (PAGE.parent / picture).exists()
