"""A task of one's own is tried before anything is trained."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import pytest

from experiments.config.file import make_config
from experiments.errors import UserError
from experiments.tasks import Batch, Goal
from experiments.training.data import load_data


@dataclasses.dataclass(frozen=True)
class Sum:
    """Inputs of two features, of which the task wants the sum."""

    length: int = 5

    metric: ClassVar = "mse"
    solved: ClassVar = Goal("mse", "<", 0.1)
    input_size: ClassVar = 2
    output_size: ClassVar = 1

    def sample(self, data, split, key, batch_size):
        xs = jnp.ones((self.length, batch_size, 2))
        return Batch(xs, xs.sum(-1))

    def loss(self, outputs, batch):
        return jnp.mean(jnp.square(outputs[..., 0] - batch.targets))

    def metrics(self, outputs, batch):
        return {"mse": self.loss(outputs, batch)}


class Pairs(Sum):
    def sample(self, data, split, key, batch_size):
        return jnp.ones((self.length, batch_size, 2)), jnp.ones((self.length, batch_size))


class ManyLosses(Sum):
    def loss(self, outputs, batch):
        return jnp.square(outputs[..., 0] - batch.targets)

    def metrics(self, outputs, batch):
        return {"mse": jnp.zeros(())}


class OtherMetrics(Sum):
    def metrics(self, outputs, batch):
        return {"error": self.loss(outputs, batch)}


class TwoGoals(Sum):
    solved = Goal("mse", "<", 1.0, also=Goal("wrong", "<", 0.5))


class ManyMetrics(Sum):
    def metrics(self, outputs, batch):
        return {"mse": outputs}


class WrongShapes(Sum):
    def loss(self, outputs, batch):
        return jnp.mean(outputs @ jnp.ones((7, 7)))


class WrongFeatures(Sum):
    def sample(self, data, split, key, batch_size):
        return Batch(jnp.ones((self.length, batch_size, 3)), jnp.ones((self.length, batch_size)))


class Raises(Sum):
    def sample(self, data, split, key, batch_size):
        return {}["batch"]


class HeldOutMetrics(Sum):
    """Metrics that training sequences do not have, which are of another length."""

    def sample(self, data, split, key, batch_size):
        xs = jnp.ones((self.length + (split != "train"), batch_size, 2))
        return Batch(xs, xs.sum(-1))

    def metrics(self, outputs, batch):
        return {"mse": jnp.mean(outputs.reshape(self.length + 1, -1))}


class OneBaseline(Sum):
    def baselines(self, data, split):
        return 0.5


class WordsAsBaseline(Sum):
    def baselines(self, data, split):
        return {"zero": "nothing"}


class Grid(Sum):
    """Inputs with a grid, for a convolutional LSTM."""

    input_size: ClassVar = (4, 2)

    def sample(self, data, split, key, batch_size):
        xs = jnp.ones((self.length, batch_size, 4, 2))
        return Batch(xs, xs.sum((-2, -1)))


def load(kind, monkeypatch, train=None, **model):
    monkeypatch.setattr("experiments.config.components._import", lambda name: globals_of())
    tree = {"task": {"name": f"own:{kind}"}, "model": model, "train": train or {}}
    return load_data(make_config(tree))


class _Module:
    pass


def globals_of():
    module = _Module()
    vars(module).update(globals())
    return module


def test_a_task_that_leaves_out_what_it_may_is_loaded(monkeypatch):
    assert load("Sum", monkeypatch) == ()


def test_a_task_with_a_grid_is_for_convolutional_layers(monkeypatch):
    sizes = {"cell": "conv_lstm", "hidden_size": 3, "kernel_size": 3, "layers": 2}
    assert load("Grid", monkeypatch, **sizes) == ()
    with pytest.raises(UserError, match=r"model.cell: must be conv_lstm, as the inputs"):
        load("Grid", monkeypatch, cell="gru")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Pairs", "sample must return a Batch; got tuple"),
        ("ManyLosses", "loss must return one float; got float32[5, 32]"),
        ("OtherMetrics", "metrics has no 'mse'; it has error"),
        ("TwoGoals", "metrics has no 'wrong'; it has mse"),
        ("ManyMetrics", "the metric 'mse' must be one number; got float32[5, 2000, 1]"),
        ("WrongShapes", "test_task_check.py, line "),
        ("WrongFeatures", "ValueError: "),
        ("OneBaseline", "baselines: AttributeError: "),
        ("WordsAsBaseline", "baselines: ValueError: could not convert"),
        ("Raises", "KeyError: 'batch' (tests/experiments/training/test_task_check.py, line "),
    ],
)
def test_what_is_wrong_with_a_task_is_one_line(monkeypatch, kind, expected):
    with pytest.raises(UserError) as caught:
        load(kind, monkeypatch)
    assert str(caught.value).startswith(f"own:{kind}: ")
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_metrics_of_training_sequences_are_tried_where_goals_are_measured_on_them(monkeypatch):
    assert load("HeldOutMetrics", monkeypatch) == ()
    with pytest.raises(UserError, match=r"^own:HeldOutMetrics: TypeError: "):
        load("HeldOutMetrics", monkeypatch, {"window": 64})
