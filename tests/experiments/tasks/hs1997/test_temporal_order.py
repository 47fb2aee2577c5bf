"""Experiment 6 of 1997: its sequences against plain Python, its errors and its baseline."""

import collections
import itertools
import random

import numpy as np
import pytest

from experiments.tasks.hs1997 import TemporalOrder1997
from experiments.tasks.hs1997.temporal_order import SYMBOLS
from tests.helpers.drawn_tasks import drawn, measured

MANY = 4000
CLASSES = {"6a": "QRSU", "6b": "QRSUVABC"}
RULES = {
    "6a": {"XX": "Q", "XY": "R", "YX": "S", "YY": "U"},
    "6b": {"XXX": "Q", "XXY": "R", "XYX": "S", "XYY": "U",
           "YXX": "V", "YXY": "A", "YYX": "B", "YYY": "C"},
}  # fmt: skip
PLACES = {"6a": [(10, 20), (50, 60)], "6b": [(10, 20), (33, 43), (66, 76)]}
TASKS = [TemporalOrder1997(experiment="6a"), TemporalOrder1997(experiment="6b")]


def sequence(batch, row):
    return "".join(SYMBOLS[k] for k in batch.inputs[: batch.lengths[row], row])


def written(experiment, rng):
    """A sequence as the paper describes it, positions counted from 1."""
    symbols = [rng.choice("abcd") for _ in range(rng.randint(100, 110))]
    symbols[0], symbols[-1] = "E", "B"
    for low, high in PLACES[experiment]:
        symbols[rng.randint(low, high) - 1] = rng.choice("XY")
    return "".join(symbols)


def outputs_for(task, batch, units):
    """Outputs whose softmax at the last step has these units, with nonsense at all others."""
    outputs = np.full((*batch.inputs.shape, task.output_size), 5.0, np.float32)
    outputs[batch.lengths - 1, np.arange(len(units))] = np.log(np.maximum(units, 1e-9))
    return outputs


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.experiment)
def test_the_class_is_that_of_the_paper_s_rules(task):
    batch = drawn(task, MANY)
    found = collections.Counter()
    for row in range(2000):
        symbols = sequence(batch, row)
        order = "".join(s for s in symbols if s in "XY")
        name = CLASSES[task.experiment][batch.targets[0, row]]
        assert name == RULES[task.experiment][order]
        found[name] += 1
        assert symbols[0] == "E"
        assert symbols[-1] == "B"
        assert symbols.count("E") == symbols.count("B") == 1
        assert (batch.inputs[len(symbols) :, row] == -1).all()
    assert len(found) == task.output_size
    assert max(found.values()) / min(found.values()) < 1.5


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.experiment)
def test_every_symbol_is_as_often_at_every_position_as_by_hand(task):
    batch, rng = drawn(task, MANY), random.Random(0)
    shares = np.zeros((2, 110, len(SYMBOLS)))
    for row in range(4000):
        for which, symbols in enumerate((sequence(batch, row), written(task.experiment, rng))):
            for t, symbol in enumerate(symbols):
                shares[which, t, SYMBOLS.index(symbol)] += 1 / 4000
    # Five standard deviations of the difference of two shares of at most a half.
    np.testing.assert_allclose(shares[0], shares[1], atol=5 * (2 * 0.25 / 4000) ** 0.5)
    xy = shares[0][:, 6:].sum(axis=1)
    places = [low + k - 1 for low, _ in PLACES[task.experiment] for k in range(11)]
    assert np.flatnonzero(xy).tolist() == places
    np.testing.assert_allclose(xy[places], 1 / 11, atol=0.025)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.experiment)
def test_an_oracle_solves_it_and_a_guess_has_the_baseline(task):
    batch, classes = drawn(task, MANY), task.output_size
    truth = np.eye(classes)[batch.targets[0]]
    metrics = measured(task, outputs_for(task, batch, truth), batch)
    assert task.solved.reached(metrics)
    guess = measured(task, outputs_for(task, batch, np.full_like(truth, 1 / classes)), batch)
    baselines = task.baselines((), "test")
    assert guess["cross_entropy"] == pytest.approx(baselines["memoryless"], rel=1e-5)
    # Whoever remembers only the last of the symbols that count has the baseline of fewer symbols.
    last = np.zeros_like(truth)
    for row, target in enumerate(batch.targets[0]):
        last[row, target % 2 :: 2] = 2 / classes
    found = measured(task, outputs_for(task, batch, last), batch)
    assert found["cross_entropy"] == pytest.approx(baselines["last symbol known"], rel=1e-5)
    assert not task.solved.reached(found)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.experiment)
def test_an_error_of_0_3_of_any_unit_is_wrong(task):
    batch = drawn(task, MANY)
    truth = np.eye(task.output_size)[batch.targets[0]]
    for error, wrong in ((0.29, 0.0), (0.31, 1.0)):
        units = (1 - error) * truth + error * np.roll(truth, 1, axis=1)
        metrics = measured(task, outputs_for(task, batch, units), batch)
        assert metrics["wrong"] == wrong
        assert metrics["mean_error"] == pytest.approx(2 * error / task.output_size, rel=1e-4)


def test_the_criterion_is_that_of_the_paper():
    assert str(TemporalOrder1997.solved) == "wrong < 0.0005 and mean_error < 0.1"


def test_all_orders_have_a_class():
    for task in TASKS:
        orders = itertools.product("XY", repeat=len(PLACES[task.experiment]))
        assert [RULES[task.experiment]["".join(order)] for order in orders] == [
            *CLASSES[task.experiment]
        ]


def test_logistic_units_have_the_squared_errors_of_1997():
    task = TemporalOrder1997(objective="squared")
    batch = drawn(task, MANY)
    truth = np.eye(4)[batch.targets[0]]
    units = np.clip(np.abs(truth - 0.25), 1e-6, 1 - 1e-6)
    outputs = np.full((*batch.inputs.shape, 4), 5.0, np.float32)
    outputs[batch.lengths - 1, np.arange(MANY)] = np.log(units / (1 - units))
    metrics = measured(task, outputs, batch)
    assert metrics["loss"] == pytest.approx(4 * 0.25**2, rel=1e-4)
    assert metrics["mean_error"] == pytest.approx(0.25, rel=1e-4)
    assert metrics["wrong"] == 0
