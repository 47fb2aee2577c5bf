"""The README's code blocks do what they say."""

import contextlib
import doctest
import io
import json
import re
import shlex
from pathlib import Path

import pytest

import lstm_jax as lj
from experiments.__main__ import main
from experiments.numbers import span
from experiments.run.summary import render
from lstm_jax.cells.cell import CellBase

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [
    line.split("  #")[0].strip()
    for language, code in BLOCKS
    if language == "bash"
    for line in code.splitlines()
    if line.strip() and not line.startswith("#")
]
QUICK = shlex.split(
    "--train.updates 4 --train.log_every 2 --train.eval_every 2"
    " --train.checkpoint_every 2 --eval.sequences 4 --eval.batch_size 2"
)


def test_python_blocks_run_one_after_the_other_and_print_what_they_say():
    names = {}
    for code in PYTHON:
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code, names, "README", None, 0)
            assert not doctest.DocTestRunner().run(test).failed
        else:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(code, "README.md", "exec"), names)


def test_there_is_python_and_shell_to_test():
    assert PYTHON
    assert {"make demo", "make test"} <= set(SHELL)


@pytest.mark.parametrize("command", [c for c in SHELL if c.startswith("make ")])
def test_make_targets_exist(command):
    makefile = (ROOT / "Makefile").read_text()
    for target in shlex.split(command)[1:]:
        assert "=" in target or re.search(rf"^{re.escape(target)}:", makefile, re.M), target


@pytest.mark.slow
def test_the_experiment_commands_run_in_their_order(tmp_path, monkeypatch, capsys):
    """Shortened, and in a folder of their own."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(c)[3:] for c in SHELL if " -m experiments " in c]
    small = ["--model.hidden_size", "4", *QUICK]
    short = {"train": small, "sweep": small, "search": ["--trials", "2", *QUICK]}
    assert {c[0] for c in commands} == {*short, "evaluate", "report", "draw", "list"}
    for arguments in commands:
        assert main([*arguments, *short.get(arguments[0], [])]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)", README))
def test_links_and_pictures_exist(link):
    assert (ROOT / link).exists()


def test_the_results_are_those_of_the_runs():
    for run, metric, decimals, baseline_decimals in (
        ("adding", "mse", 5, 4),
        ("copy", "cross_entropy", 5, 4),
        ("chars", "bits_per_character", 2, 2),
    ):
        summary = json.loads((ROOT / "docs" / "results" / run / "summary.json").read_text())
        (row,) = [line for line in README.splitlines() if line.startswith(f"| `{run}.yaml`")]
        assert f"{summary['test'][metric]['mean']:.{decimals}f}" in row
        first = summary["goals"]["solved"]["first_at_update"]
        assert span(first) in row
        assert f"{next(iter(summary['baselines'].values())):.{baseline_decimals}f}" in row


def test_the_demo_prints_the_lines_of_the_readme():
    """The labels of the block are those of a summary, in their order."""
    shown = next(code for language, code in BLOCKS if language == "text")
    summary = json.loads((ROOT / "docs" / "results" / "adding" / "summary.json").read_text())
    summary |= {"task": "adding, length 200", "python_share": 0.005}
    printed = render(summary, Path("runs/demo"))

    def labels(text):
        return [re.split(r"\s{2,}", line.strip())[0] for line in text.splitlines()[2:]]

    assert labels(shown)[:8] == labels(printed)[:8]


def test_the_number_of_cells_is_that_of_the_library():
    cells = {v for v in vars(lj).values() if isinstance(v, type) and issubclass(v, CellBase)}
    assert f"{len(cells)} cells and" in README
