"""The pages about configs and components of one's own do what they say, from another folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from experiments.__main__ import main
from experiments.config.file import make_config

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "experiments"
OWN = (PAGES / "your_own_task.md").read_text()
CONFIGS = (PAGES / "configs.md").read_text()
QUICK = ["--train.updates", "4", "--train.log_every", "2", "--train.eval_every", "2",
         "--train.checkpoint_every", "2", "--train.batch_size", "3", "--eval.sequences", "4",
         "--eval.batch_size", "2"]  # fmt: skip


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page, re.S)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the files of the page, which is the current folder."""
    for name, text in re.findall(r"^`([\w/]+\.\w+)`:\n\n```\w+\n(.*?)```", OWN, re.M | re.S):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "my_project"]:
        del sys.modules[name]


def commands(page):
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[3:] for line in lines if line.startswith("python -m experiments")]


def test_the_files_of_the_page_are_there(project):
    names = {str(path.relative_to(project)) for path in project.rglob("*.*") if path.is_file()}
    task = (project / "my_project" / "tasks.py").read_text()
    code = [line for line in task.splitlines() if line.strip()]
    assert names == {
        "order.yaml",
        *(f"my_project/{n}.py" for n in ("tasks", "cells", "optimizers")),
    }
    assert len(code) <= 42


def test_a_task_from_another_folder_is_trained(project):
    """In a process of its own, as on the page."""
    result = subprocess.run(
        [sys.executable, "-m", "experiments", *commands(OWN)[1], *QUICK],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "my_project.tasks:TemporalOrder, length 60: not solved" in result.stdout
    assert (
        "name: my_project.tasks:TemporalOrder" in (project / "runs/order/config.yaml").read_text()
    )


@pytest.mark.slow
@pytest.mark.parametrize("words", commands(OWN)[1:], ids=" ".join)
def test_a_command_of_the_page_runs(project, words, capsys):
    if words[0] == "evaluate":
        assert main([*commands(OWN)[1], *QUICK]) == 0
    assert main([*words, *(QUICK if words[0] == "train" else [])]) == 0
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.slow
def test_the_task_of_the_page_is_solved(project, capsys):
    assert main(["train", "order.yaml", "--train.stop_when", "solved"]) == 0
    assert "my_project.tasks:TemporalOrder, length 60: solved" in capsys.readouterr().out


def test_help_shows_the_fields_of_components_of_ones_own(project, capsys):
    flags = ["--model.cell", "my_project.cells:Leaky", "--model.chrono_t_max", "none"]
    flags += ["--optimizer.name", "my_project.optimizers:sign_descent"]
    assert main(["train", "order.yaml", *flags, "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "task: the temporal order task" in out
    assert "--task.length 60 time steps T of a sequence (int)" in out
    assert "--model.rate 0.1 share of the state that is new at every step (float)" in out
    assert "none for orthogonal (initializer | none)" in out
    assert "--optimizer.decay 0.9" in out


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--task.lenght", "3"], "--task.lenght: unknown field; did you mean task.length?"),
        (["--task.length", "a"], "--task.length: must be a valid integer; got 'a'"),
        (["--task.name", "my_projekt.tasks:T"], "task.name: no module 'my_projekt' in the current"),
        (["--task.name", "my_project.task:T"], "task.name: no module 'my_project.task'"),
        (["--task.name", "my_project.tasks:Temporal"],
            "my_project.tasks has no 'Temporal'; did you mean TemporalOrder?"),
        (["--task.name", "my_project.tasks:DISTRACTORS"], "is not a task: a frozen dataclass"),
        (["--task.name", "my_project.cells:Leaky"], "is not a task: it has no sample, loss"),
        (["--model.cell", "my_project.tasks:TemporalOrder"], "is not a cell: a frozen dataclass"),
        (["--model.cell", "my_project.cells:Leaky", "--model.rate", "fast"],
            "--model.rate: must be a valid number; got 'fast'"),
        (["--optimizer.name", "my_project.tasks:TemporalOrder"], "a function of a learning_rate"),
        (["--task.name", "my_project.tasks:1x"], "an import path is package.module:Name"),
        (["--task.name", ":x"], "an import path is package.module:Name"),
    ],
)  # fmt: skip
def test_mistakes_in_the_config_are_one_message(project, capsys, flags, expected):
    assert main(["train", "order.yaml", *flags]) == 2
    err = capsys.readouterr().err
    assert expected in err
    assert len(err.splitlines()) <= 2


BROKEN = {
    "name": ("boom = jpn.zeros(3)", "NameError: name 'jpn' is not defined", 1),
    "syntax": ("x = 1\ndef f(:\n", "SyntaxError: invalid syntax", 2),
    "import": ("import torchh", "ModuleNotFoundError: No module named 'torchh'", 1),
    "exit": ("raise SystemExit(3)", "SystemExit: 3", 1),
    "frozen": (
        "from dataclasses import dataclass\n@dataclass\nclass T:\n    a: int = 3", "frozen", 0),
    "parts": (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass T:\n    length: int = 3",
        "it has no sample, loss, metrics, metric, solved, input_size, output_size", 0),
    "type": (
        "from my_project.tasks import *\n@dataclass(frozen=True)\nclass T(TemporalOrder):\n"
        "    table: jax.Array = None", "Array, of which a config has no values", 0),
    "value": (
        "from my_project.tasks import *\n@dataclass(frozen=True)\nclass T(TemporalOrder):\n"
        "    def __post_init__(self):\n        raise ValueError('length must be even')",
        "task: length must be even", 0),
    "raises": (
        "from my_project.tasks import *\n@dataclass(frozen=True)\nclass T(TemporalOrder):\n"
        "    def __post_init__(self):\n        {}['no']", "KeyError: 'no'", 5),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_mistakes_in_the_users_module_are_one_message_with_its_place(project, capsys, kind):
    text, expected, line = BROKEN[kind]
    (project / "my_project" / f"broken_{kind}.py").write_text(text)
    assert main(["train", "order.yaml", "--task.name", f"my_project.broken_{kind}:T"]) == 2
    err = capsys.readouterr().err
    assert expected in err
    assert not line or re.search(rf"broken_{kind}\.py, line {line}\)", err)
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("block", blocks(CONFIGS, "yaml"))
def test_a_config_of_the_page_is_valid(block):
    make_config(yaml.safe_load(block.replace("1e-3", "0.001")))


def test_the_python_of_the_page_runs():
    for code in blocks(CONFIGS, "python"):
        exec(code, {})


@pytest.mark.parametrize("page", [OWN, CONFIGS], ids=["own", "configs"])
def test_links_and_files_of_the_pages_exist(page):
    for link in re.findall(r"\]\((?!http)([^)#]+)", page):
        assert (PAGES / link).exists(), link
    for file in re.findall(r"`((?:lstm_jax|experiments|tests)/[\w/]+\.py)`", page):
        assert (ROOT / file).exists(), file
