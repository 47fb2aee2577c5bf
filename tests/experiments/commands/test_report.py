"""The command report: its formats, its files and its errors."""

import codecs
import csv
import io
import json
import sys
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.__main__ import main
from experiments.plain_text import encode_plainly
from experiments.tasks import Copy
from tests.helpers.runs import write_run


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    # Drawing takes a second a figure; tests/experiments/report/test_figures.py draws.
    monkeypatch.setattr(FigureCanvasAgg, "print_png", lambda self, path: Path(path).touch())
    for rate in (0.1, 0.01):
        write_run(Path("sweep") / str(rate), [300, 400], learning_rate=rate)
    return ["sweep"]


def test_tables_are_printed_and_figures_drawn(runs, capsys):
    assert main(["report", *runs]) == 0
    out = capsys.readouterr().out
    assert "A  learning_rate 0.01   2 of 2   350 (300 to 400)" in out
    assert "solves sooner" in out
    names = ["learning_curves.png", "survival.png", "mse_against_optimizer.learning_rate.png"]
    names += ["report.csv", "report.md"]
    assert out.splitlines()[-1] == f"in runs/report: {', '.join(names)}"
    assert sorted(path.name for path in Path("runs/report").iterdir()) == sorted(names)
    page = Path("runs/report/report.md").read_text()
    assert "![survival](survival.png)" in page
    assert len(Path("runs/report/report.csv").read_text().splitlines()) == 5
    # A report of the folder with the report in it is the same.
    assert main(["report", *runs, "runs", "--out", "again"]) == 2
    assert "runs: not the folder of a run" in capsys.readouterr().err


def test_no_file_is_written_without_a_folder_for_it(runs, capsys):
    before = set(Path().rglob("*"))
    for flags in (["--out", "none"], ["--format", "csv"], ["--format=markdown"]):
        assert main(["report", *runs, *flags]) == 0
    assert set(Path().rglob("*")) == before


def test_csv_and_markdown(runs, capsys):
    main(["report", "--format", "csv", *runs, "--out", "here"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["optimizer.learning_rate"] for row in rows] == ["0.01", "0.01", "0.1", "0.1"]
    assert Path("here/survival.png").exists()
    main(["report", *runs, "--format", "markdown"])
    out = capsys.readouterr().out
    assert "| B  learning_rate 0.1 | 2 of 2 | 350 (300 to 400) |" in out
    assert out.count("python -m experiments train sweep/") == 2


def test_fields_and_metrics_are_chosen(runs, capsys):
    main(["report", *runs, "--by", "task.length", "train.stop_when", "--out", "none"])
    assert "A  length 50, stop_when mastered   4 of 4" in capsys.readouterr().out
    assert main(["report", *runs, "--metric", "msee"]) == 2
    assert "--metric msee: must be one of mse; did you mean mse?" in capsys.readouterr().err


def test_figures_of_several_tasks_have_their_names(runs, capsys):
    write_run("copy", [300], task=Copy(delay=5))
    assert main(["report", *runs, "copy", "--out", "here"]) == 0
    assert Path("here/adding_survival.png").exists()
    assert Path("here/copy_survival.png").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "WORKDIR is missing"),
        (["--format", "csv"], "WORKDIR is missing"),
        (["sweep", "--formt", "csv"], "unknown option --formt; did you mean --format?"),
        (["sweep", "--format", "cvs"], "must be one of terminal, markdown, csv; got cvs; did you"),
        (["sweep", "--format"], "report: --format: expected one argument"),
        (["sweep", "--out", ""], "--out needs a folder"),
        (["sweep", "--out", "file"], "file: cannot be written: File exists"),
        (["sweep", "--by"], "expected at least one argument"),
        (["sweep", "--by", "lenght"], "did you mean task.length?"),
        (["sweep", "nowhere"], "nowhere: not the folder of a run"),
        ([""], "WORKDIR is empty"),
        (["file"], "file: not the folder of a run"),
    ],
)
def test_bad_usage_is_a_short_message(runs, capsys, arguments, expected):
    Path("file").touch()
    assert main(["report", *arguments]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert len(captured.err.splitlines()) == 1


def test_a_damaged_summary_is_named(runs, capsys):
    Path("sweep/0.1/summary.json").write_text("{}")
    assert main(["report", *runs]) == 2
    assert "error: sweep/0.1/summary.json: cannot be read: command" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_of_the_terminal_will_do(runs, monkeypatch, form, encoding):
    Path("sweep/0.1").rename("sweep/Läufe ±")
    codecs.register_error("plain", encode_plainly)
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="plain")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["report", *runs, "--format", form, "--out", "none"]) == 0
    stream.flush()
    out = stream.buffer.getvalue().decode(encoding)
    if form == "markdown":
        assert {"ascii": "0.0001 +- 0"}.get(encoding, "0.0001 ± 0") in out
    if form == "csv":
        assert {"ascii": "Laufe +-"}.get(encoding, "Läufe ±") in out


def test_a_path_that_is_not_utf_8(runs, monkeypatch):
    folder = b"sweep/\xff".decode("utf-8", "surrogateescape")
    try:
        Path("sweep/0.1").rename(folder)
    except OSError:
        pytest.skip("the file system takes only UTF-8")
    codecs.register_error("plain", encode_plainly)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="plain")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["report", *runs, "--format", "csv", "--out", "here"]) == 0
    stream.flush()
    assert b"sweep/\xff," in stream.buffer.getvalue()


def test_unknown_fields_of_a_summary_do_not_matter(runs, capsys):
    path = Path("sweep/0.1/summary.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"later": 1}))
    assert main(["report", *runs, "--out", "none"]) == 0
