"""The help of the command line: every field with its range and value, at any width."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from experiments.__main__ import COMMANDS, main
from experiments.commands.help import help_rows, print_help
from experiments.commands.pages import PAGES, print_command_help
from experiments.config.file import config_tree
from experiments.config.layer import CELLS, layer
from experiments.config.model import ModelConfig, model_config
from experiments.config.optimizer import OPTIMIZERS
from experiments.config.schema import Config
from experiments.config.sections import leaves
from experiments.tasks import TASKS, Adding

SIZES = {"projected_lstm": {"projection_size": 4}, "conv_lstm": {"kernel_size": 3}}


def printed(config, width, terminal=False):
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, highlight=False)
    print_help(config, Path("a.yaml"), console)
    return stream.getvalue()


def flags(config):
    return {row.flag[2:]: row for _, rows in help_rows(config) for row in rows}


@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_line_fits_and_every_field_is_there(width):
    config = Config(task=Adding(length=7), model=model_config("gru", hidden_size=9))
    text = printed(config, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert "\x1b" not in text
    for name in leaves(config_tree(config)):
        assert f"--{name} " in text, name
    words = " ".join(text.split())
    assert "--model.hidden_size 9 number of hidden units H (int, 1 to 131,072)" in words
    assert "--task.length 7 time steps T of a sequence" in words
    assert words.index("examples") < words.index("arguments" if "arguments" in words else "--task")


def test_a_terminal_has_colours():
    assert "\x1b[" in printed(Config(task=Adding()), 80, terminal=True)


def test_a_list_of_layers_has_the_fields_of_each_layer():
    layers = (layer("gru", hidden_size=3), layer("slstm", hidden_size=4, num_heads=2))
    rows = flags(Config(task=Adding(), model=ModelConfig(layers)))
    assert rows["model.layers.0.reset_after"].value == "true"
    assert rows["model.layers.1.num_heads"].value == "2"
    assert rows["model.layers.1.forget_gate"].kind == "sigmoid | exp"
    assert rows["model.layers"].value == "a list of 2"


def test_every_row_has_a_description_a_type_and_a_bound_for_its_number():
    configs = [Config(task=Adding(), optimizer=optimizer()) for optimizer in OPTIMIZERS.values()]
    configs += [Config(task=task()) for task in TASKS.values()]
    configs += [
        Config(task=Adding(), model=model_config(cell, **SIZES.get(cell, {})))
        for cell in CELLS
        if cell != "conv_lstm"
    ]
    for config in configs:
        for name, row in flags(config).items():
            assert row.description or name.endswith("name"), row
            assert row.kind, row
            if row.kind.startswith("int"):
                assert re.search(r"\d to (below )?\d", row.kind) or name == "model.layers", row


def test_names_that_can_be_chosen_are_listed():
    rows = flags(Config(task=Adding()))
    assert rows["task.name"].kind == " | ".join([*TASKS, "module:Name"])
    assert "refined_lstm" in rows["model.cell"].kind
    assert "lion" in rows["optimizer.name"].kind
    assert rows["model.preset"].kind.endswith("uniform_gate | none")
    assert rows["optimizer.learning_rate"].kind == "float, above 0"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_command_has_a_page_with_examples(command, width):
    stream = io.StringIO()
    print_command_help(PAGES[command], Console(file=stream, width=width, highlight=False))
    text = stream.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    assert text.startswith("usage: python -m experiments")
    assert " ".join(text.split()).count(f"python -m experiments {command}") >= 2
    assert list(PAGES) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_of_a_command_is_printed(capsys, command):
    assert main([command, "--help"]) == 0
    assert f"usage: python -m experiments {command}" in " ".join(capsys.readouterr().out.split())


def test_the_page_of_a_command_does_not_wait_for_jax():
    code = "import experiments.__main__ as m, sys; m.main(['sweep', '-h']);"
    code += " assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
