"""Config files: parsing, overrides and error messages."""

import dataclasses
import re

import pytest
import yaml
from pydantic import ValidationError

from experiments.commands.overrides import parse_overrides
from experiments.config.file import (
    differences,
    dump_config,
    load_config,
)
from experiments.config.layer import CELLS, layer_class
from experiments.config.messages import nearest_field
from experiments.config.model import ModelConfig, model_config
from experiments.config.optimizer import OPTIMIZERS
from experiments.config.schema import Config, EvalConfig, TrainConfig
from experiments.config.section_class import descriptions
from experiments.config.sections import read_sections
from experiments.errors import UserError
from experiments.tasks import TASKS, Adding, Copy

GOOD = """\
task:
  name: adding
  length: 50
optimizer:
  learning_rate: 3e-4
"""


@pytest.fixture
def config_file(tmp_path):
    def write(text):
        path = tmp_path / "some.yaml"
        path.write_text(text)
        return path

    return write


def message_of(path, overrides=None):
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    return str(caught.value).replace(str(path), "some.yaml")


def test_a_file_becomes_a_frozen_config(config_file):
    config = load_config(config_file(GOOD))
    assert config.task == Adding(length=50)
    # YAML 1.1 reads 3e-4 as text.
    assert config.optimizer.learning_rate == 3e-4
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1  # type: ignore[misc]
    assert hash(config) == hash(load_config(config_file(GOOD)))


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-4", 3e-4), ("1E3", 1000.0), ("2", 2.0), (".5", 0.5), ("1.", 1.0), ("1.5e+2", 150.0)],
)
def test_numbers_are_read_as_people_write_them(config_file, text, value):
    path = config_file(GOOD.replace("3e-4", text))
    assert load_config(path).optimizer.learning_rate == value


def test_a_dumped_config_loads_as_the_same_config(config_file):
    config = load_config(config_file(GOOD), {"seeds": 3, "optimizer.clip_norm": None})
    assert load_config(config_file(dump_config(config))) == config
    assert set(yaml.safe_load(dump_config(config))) >= {"task", "model", "optimizer", "train"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tsk: {name: adding}", "some.yaml: task: missing"),
        ("task: {name: ading}",
            "; got 'ading'; did you mean adding?"),
        ("task: {name: adding, lenght: 9}",
            "some.yaml: task.lenght: unknown field; did you mean task.length?"),
        ("task: {name: adding, delay: 9}", "some.yaml: task.delay: unknown field"),
        ("task: {name: adding}\nmodle: {hidden_size: 3}",
            "some.yaml: modle.hidden_size: unknown field; did you mean model.hidden_size?"),
        ("task: {name: adding}\nhidden_size: 3",
            "some.yaml: hidden_size: unknown field; did you mean model.hidden_size?"),
        ("task: {name: adding, length: 1}",
            "some.yaml: task.length: must be at least 2; got 1"),
        ("task: {name: adding, length: '9'}",
            "some.yaml: task.length: must be a valid integer; got '9'"),
        ("task: {name: adding}\ntrain: {updates: 2.5}",
            "some.yaml: train.updates: must be a valid integer; got 2.5"),
        ("task: {name: adding}\noptimizer: {learning_rate: .inf}",
            "some.yaml: optimizer.learning_rate: must be a finite number; got inf"),
        ("task: {name: adding}\noptimizer: {name: adm}",
            "some.yaml: optimizer.name: must be adam, adamw, sgd, rmsprop, lion, or an import path"
            " such as my_optimizers:Mine; got 'adm'; did you mean adam?"),
        ("task: {name: adding}\ntrain: {eval_every: 33}",
            "some.yaml: train.eval_every: must be a multiple of train.log_every (50); got 33"),
        ("task: {name: adding}\neval: {sequences: 7}",
            "some.yaml: eval.sequences: must be a multiple of eval.batch_size (500); got 7"),
        ("task: {name: chars}\ntrain: {stop_when: mastered}",
            "some.yaml: train.stop_when: the task 'chars' defines no 'mastered'; use 'solved'"),
        ("task: {name: adding}\nmodel: 3",
            "some.yaml: model: must be a mapping of fields; got 3"),
        ("task: adding", "some.yaml: task: must be"),
        ("", "some.yaml: the file is empty"),
        ("- 1", "some.yaml: a config is a mapping of fields; got list"),
        ("task: {name: adding", "some.yaml: line 1, column"),
        ("task: {name: [adding]}", "some.yaml: task.name: must be adding, copy"),
        ("task: {name: adding}\ntrain: {updates: 010}",
            "some.yaml: train.updates: must be a valid integer; got '010'"),
        ("task: {name: adding}\ntrain: {updates: 1:30}",
            "some.yaml: train.updates: must be a valid integer; got '1:30'"),
        ("task: &t {name: adding}\nmodel: *t", "line 2, column 8: aliases are not supported"),
        ("task: !!set {adding}", "some.yaml: line 1, column 7: tags are not supported"),
        ("task: " + "[" * 5000, "some.yaml: "),
        ("task: {name: adding}\noptimizer: {warmup_updates: 10000}",
            "some.yaml: optimizer.warmup_updates: must be less than train.updates (10000);"),
        ("task: {name: adding}\nmodel: {cell: tanh_rnn, chrono_t_max: 9}",
            "some.yaml: model.chrono_t_max: must be none for the cell 'tanh_rnn'"),
        ("seed: 1\nseed: 2", "some.yaml: line 2, column 1: the key 'seed' is repeated"),
    ],
)  # fmt: skip
def test_an_error_in_a_file_is_one_line(config_file, text, expected):
    message = message_of(config_file(text))
    assert expected in message.splitlines()[0]
    assert all(len(line) < 200 for line in message.splitlines())


def test_all_errors_of_a_file_are_in_one_message(config_file):
    text = "task: {name: adding, lenght: 9}\ntrain: {updates: 0}\noptimizer: {name: 3}"
    assert re.findall(r"some.yaml: ([\w.]+):", message_of(config_file(text))) == [
        "task.lenght",
        "optimizer.name",
        "train.updates",
    ]


def test_a_missing_file_gets_a_suggestion(config_file):
    path = config_file(GOOD)
    with pytest.raises(UserError) as caught:
        load_config(path.with_name("sme.yaml"))
    assert str(caught.value).endswith(f"sme.yaml: no such file; did you mean {path}?")


def test_a_folder_or_binary_file_cannot_be_read(config_file, tmp_path):
    assert "cannot be read" in message_of(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not a text file" in message_of(binary)


def test_overrides_win_and_errors_name_the_flag(config_file):
    path = config_file(GOOD)
    config = load_config(path, parse_overrides(["--model.hidden-size", "7", "--seed=3"]))
    assert (config.model.layers[0].hidden_size, config.seed) == (7, 3)
    assert message_of(path, {"model.hiden_size": 7}) == (
        "--model.hiden_size: unknown field; did you mean model.hidden_size?"
    )
    assert message_of(path, {"model.hidden_size": -7}) == (
        "--model.hidden_size: must be at least 1; got -7"
    )
    assert message_of(path, {"seed.x": 7}) == "--seed.x: unknown field; did you mean seed?"


def test_a_task_named_by_override_keeps_the_files_settings(config_file):
    path = config_file("task: {length: 9}")
    assert load_config(path, {"task.name": "adding"}).task == Adding(length=9)


def test_a_section_needs_fields(config_file):
    message = message_of(config_file(GOOD), {"task": "copy"})
    assert message == "--task: must be a mapping of fields; got 'copy'"


def test_another_task_by_override_drops_the_task_settings_of_the_file(config_file):
    config = load_config(config_file(GOOD), {"task.name": "copy", "task.delay": 7})
    assert config.task == Copy(delay=7)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--seed"], "--seed needs a value"),
        (["--seed", "--seeds", "3"], "--seed needs a value"),
        (["seed", "3"], "unexpected argument 'seed'"),
        (["--seed", ""], "--seed needs a value; got ''"),
        (["--seed", "#1"], "--seed needs a value; got '#1'"),
        (["--seed", "*a"], "--seed: '*a' is not a value"),
        (["--seed", "[1"], "--seed: '[1' is not a value"),
    ],
)
def test_bad_flags(arguments, expected):
    with pytest.raises(UserError, match=re.escape(expected)):
        parse_overrides(arguments)


def test_override_values_are_yaml():
    overrides = parse_overrides(
        ["--a.b", "3e-4", "--c=adam", "--d", "none", "--e", "-3", "--f", "true"]
    )
    assert overrides == {"a.b": 3e-4, "c": "adam", "d": None, "e": -3, "f": True}


def test_differences_name_both_values():
    a = Config(task=Adding(length=5))
    b = Config(task=Adding(length=6), model=model_config(hidden_size=3), seed=1)
    assert differences(a, b) == [
        "task.length: 5, not 6",
        "model.hidden_size: 128, not 3",
        "seed: 0, not 1",
    ]
    assert differences(a, a) == []


def test_unknown_fields_are_forbidden_in_python_too():
    with pytest.raises(ValidationError, match="hiden_size"):
        model_config(hiden_size=3)  # type: ignore[call-arg]


def test_every_field_has_a_description():
    """The help text contains the string under each field."""
    sections = [*TASKS.values(), *OPTIMIZERS.values(), *map(layer_class, CELLS)]
    for cls in (*sections, ModelConfig, TrainConfig, EvalConfig):
        for name, description in descriptions(cls).items():
            assert description or name == "name", (cls, name)


def test_no_field_is_near():
    names = read_sections({"task": {"name": "adding"}}).names
    assert nearest_field("zzzzzz", names) is None
