"""Ranges: every number of a config has bounds, and what float32 cannot hold is refused."""

import dataclasses

import pytest
from pydantic import TypeAdapter, ValidationError

from experiments.config.fields import FieldErrors, NotNegative, Positive, Real
from experiments.config.file import make_config
from experiments.config.layer import CELLS, layer_class
from experiments.config.model import ModelConfig
from experiments.config.optimizer import OPTIMIZERS
from experiments.config.schema import Config, EvalConfig, TrainConfig
from experiments.errors import UserError
from experiments.tasks import TASKS

SECTIONS = [*TASKS.values(), *OPTIMIZERS.values(), *map(layer_class, CELLS), ModelConfig,
            TrainConfig, EvalConfig, Config]  # fmt: skip


def numbers(cls):
    """The fields of a section that may be a number."""
    for name in cls.__pydantic_fields__:
        for value in (10**31, -(10**31), 1e38, -1e38, 1e39, float("inf"), float("nan")):
            yield name, value


@pytest.mark.parametrize("cls", SECTIONS, ids=lambda cls: cls.__name__)
def test_no_field_takes_a_number_that_no_computer_has(cls):
    adapters = {
        field.name: TypeAdapter(cls.__pydantic_fields__[field.name].rebuild_annotation())
        for field in dataclasses.fields(cls)
        if field.name not in ("task", "model", "optimizer", "layers")
    }
    for name, value in numbers(cls):
        if name in adapters:
            with pytest.raises(ValidationError):
                adapters[name].validate_python(value, strict=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.hidden_size", 10**9),
        ("seeds", 10**9),
        ("train.log_every", 10**12),
        ("task.length", 10**9),
        ("train.batch_size", 10**9),
        ("eval.sequences", 10**10),
        ("train.updates", 10**17),
        ("train.updates", 1e22),
        ("model.layers", 10**9),
        ("model.remat", 10**12),
        ("optimizer.learning_rate", 1e-60),
        ("optimizer.clip_norm", 1e-60),
        ("optimizer.learning_rate", 1e39),
        ("optimizer.final_learning_rate", 1e-60),
        ("optimizer.b1", 1.0),
        ("optimizer.b1", 0.99999999999),
        ("model.forget_bias", 1e39),
        ("model.forget_bias", 1e-60),
        ("model.chrono_t_max", 1e39),
        ("model.init_scale", 1e-60),
        ("model.zoneout.h", 0.99999999999),
        ("seed", 2**31),
    ],
)
def test_what_stalls_or_vanishes_is_refused_with_its_bound(name, value):
    with pytest.raises(UserError) as caught:
        make_config({"task": {"name": "adding"}}, {name: value})
    message = str(caught.value)
    assert message.startswith(f"--{name}: must be ")
    assert len(message) < 120


@pytest.mark.parametrize("kind", [Positive, NotNegative, Real])
def test_what_float32_holds_is_taken(kind):
    for value in (1e-30, 0.5, 1, 1e30, *([] if kind is Positive else [0.0])):
        assert TypeAdapter(kind).validate_python(value) == value


def test_errors_of_a_section_are_seen_from_outside():
    error = FieldErrors({"h": "too large", "c": "too small"}).below("zoneout")
    assert str(error) == "zoneout.h: too large; zoneout.c: too small"


def test_a_config_made_in_python_says_what_is_wrong():
    with pytest.raises(ValidationError, match=r"train.eval_every: must be a multiple of"):
        Config(task=TASKS["adding"](), train=TrainConfig(eval_every=33))
