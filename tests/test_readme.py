"""The README's code blocks do what they say."""

import contextlib
import doctest
import io
import re
import shlex
from pathlib import Path

import pytest

from experiments.__main__ import main

ROOT = Path(__file__).parent.parent
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
    "--model.hidden_size 4 --train.updates 4 --train.log_every 2 --train.eval_every 2"
    " --train.checkpoint_every 2 --eval.sequences 4 --eval.batch_size 2"
)


@pytest.mark.parametrize("code", PYTHON)
def test_python_blocks_run_and_print_what_they_say(code):
    """A comment after a line, ``# -> value``, is what the expression on the line gives."""
    if ">>>" in code:
        test = doctest.DocTestParser().get_doctest(code, {}, "README", None, 0)
        assert not doctest.DocTestRunner().run(test).failed
        return
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code, "README.md", "exec"), {})


def test_there_is_python_and_shell_to_test():
    assert PYTHON
    assert {"make demo", "make test"} <= set(SHELL)


@pytest.mark.parametrize("command", [c for c in SHELL if c.startswith("make ")])
def test_make_targets_exist(command):
    makefile = (ROOT / "Makefile").read_text()
    for target in shlex.split(command)[1:]:
        assert "=" in target or re.search(rf"^{re.escape(target)}:", makefile, re.M), target


def test_the_experiment_commands_run_in_their_order(tmp_path, monkeypatch, capsys):
    """Shortened, and in a folder of their own."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(c)[3:] for c in SHELL if " -m experiments " in c]
    assert {c[0] for c in commands} == {"train", "evaluate", "report", "list"}
    for arguments in commands:
        short = QUICK if arguments[0] == "train" else []
        assert main([*arguments, *short]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)", README))
def test_links_and_pictures_exist(link):
    assert (ROOT / link).exists()
