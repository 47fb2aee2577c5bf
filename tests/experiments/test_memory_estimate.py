"""The estimate of memory: certain parts, refused before anything is allocated, or warned of."""

import functools
import time

import jax
import pytest

from experiments import memory_estimate
from experiments.__main__ import main
from experiments.config.model import model_config
from experiments.config.optimizer import SGD, Adam
from experiments.config.schema import Config, EvalConfig, TrainConfig
from experiments.errors import UserError
from experiments.memory_estimate import available_memory, check_memory, estimate_memory
from experiments.tasks import Adding
from experiments.training.data import load_data
from experiments.training.keys import data_key
from experiments.training.train_step import make_train_functions

TASK = Adding(length=50)
PARAMETERS = 4 * (2 * 32 + 8 * 32 + 32 + 8 * 1 + 1)


def batches(config):
    sample = functools.partial(config.task.sample, ())
    return {
        split: jax.eval_shape(
            functools.partial(sample, split, batch_size=count), data_key(split, 0)
        )
        for split, count in (
            ("train", config.train.batch_size),
            ("test", config.eval.sequences),
        )
    }


def estimate(lanes=None, **fields):
    config = Config(task=TASK, **fields)
    return estimate_memory(config, batches(config), lanes)


def test_the_parts_are_the_bytes_of_their_arrays():
    small = model_config("lstm", hidden_size=8)
    sizes = {"train": TrainConfig(batch_size=4), "eval": EvalConfig(sequences=10, batch_size=5)}
    one = estimate(model=small, optimizer=Adam(), **sizes)
    assert one.parameters == 2 * PARAMETERS
    # Two moments, their count, and that of the schedule or none.
    assert 2 * PARAMETERS <= one.optimizer <= 2 * PARAMETERS + 8
    assert one.batches == 10 * (50 * 2 + 1) * 4
    assert one.activations >= 50 * 4 * 2 * 8 * 4
    assert estimate(model=small, optimizer=SGD(), **sizes).optimizer < 100
    three = estimate(3, model=small, optimizer=Adam(), **sizes)
    assert three.parameters == 3 * one.parameters
    assert three.activations == 3 * one.activations
    kept = estimate(model=model_config("lstm", hidden_size=8, remat=7), **sizes).activations
    assert kept < one.activations / 2
    config = Config(task=TASK, model=small, **sizes)
    evaluation = estimate_memory(config, {"test": batches(config)["test"]})
    assert (evaluation.parameters, evaluation.optimizer) == (PARAMETERS, 0)


def test_the_parameters_are_those_that_a_training_has():
    config = Config(task=TASK, model=model_config("gru", hidden_size=8, layers=2), seeds=2)
    states = jax.eval_shape(make_train_functions(config).init)
    parts = estimate_memory(config, batches(config))
    assert parts.parameters == 2 * memory_estimate.bytes_of(states.params)
    assert parts.optimizer == memory_estimate.bytes_of(states.opt_state)


@pytest.mark.parametrize(
    ("flags", "lower"),
    [
        (["--model.hidden_size", "100000"], "lower model.hidden_size"),
        (["--seeds", "10000", "--model.hidden_size", "20000"], "model.layers or seeds"),
        (["--task.length", "10000000", "--model.hidden_size", "4000"], "lower train.batch_size"),
        (["--eval.sequences", "100000000", "--task.length", "1000000"], "lower eval.sequences"),
        (["--train.batch_size", "10000000", "--task.length", "100000"], "model.remat"),
    ],
)
def test_what_cannot_fit_is_refused_at_once(tmp_path, monkeypatch, capsys, flags, lower):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("task: {name: adding}")
    began = time.perf_counter()
    assert main(["train", "a.yaml", *flags]) == 2
    assert time.perf_counter() - began < 10
    err = capsys.readouterr().err
    assert err.startswith("error: the training needs at least ")
    assert lower in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_training_that_may_not_fit_is_warned_of(monkeypatch, capsys):
    config = Config(task=TASK)
    total = estimate_memory(config, batches(config)).total
    monkeypatch.setattr(memory_estimate, "available_memory", lambda: 1.1 * total)
    load_data(config)
    assert "of memory; if it does not suffice, lower" in capsys.readouterr().err
    monkeypatch.setattr(memory_estimate, "available_memory", lambda: 0.9 * total)
    with pytest.raises(UserError, match="needs at least"):
        check_memory(config, batches(config))
    monkeypatch.setattr(memory_estimate, "available_memory", lambda: 10 * total)
    load_data(config, lanes=1)
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match="needs at least"):
        load_data(config, lanes=100)
    monkeypatch.setattr(memory_estimate, "available_memory", lambda: None)
    load_data(config, lanes=100)


def test_this_machine_has_memory():
    assert available_memory() > 2**20
