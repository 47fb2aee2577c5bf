"""Experiment 2 of 1997: its sequences against plain Python, its errors and its baseline."""

import math
import random

import numpy as np
import pytest

from experiments.tasks.hs1997 import Lag1997
from experiments.tasks.hs1997.lag import MOST_ADDED
from tests.helpers.drawn_tasks import drawn, measured

MANY = 8000


def written(task, rng):
    """A sequence of symbols by their names, written as the paper describes it."""
    first = rng.choice("xy")
    names = [f"a{i}" for i in range(1, task.p + 1)]
    match task.experiment:
        case "2a":
            return [first, *names[: task.p - 1], first]
        case "2b":
            return [first, *(rng.choice(names[: task.p - 1]) for _ in range(task.p - 1)), first]
        case _:
            middle = [rng.choice(names) for _ in range(task.q or task.p)]
            while rng.random() < 0.9:
                middle.append(rng.choice(names))
            return ["b", first, *middle, "e", first]


def alphabet(task):
    """The names of the input classes."""
    names = [f"a{i}" for i in range(1, task.p + 1)]
    return [*names, "e", "b", "x", "y"] if task.experiment == "2c" else [*names[:-1], "x", "y"]


def read(task, batch, row):
    """A sequence of a batch by the names of its symbols, its target the last."""
    names = alphabet(task)
    length = len(batch.inputs) if batch.lengths is None else batch.lengths[row]
    symbols = [names[k] for k in batch.inputs[:length, row]]
    if task.experiment == "2c":
        assert (batch.inputs[length:, row] == -1).all()
        return [*symbols, "xy"[batch.targets[0, row]]]
    last = [names[k] for k in batch.targets[:, row]]
    assert symbols[1:] == last[:-1]
    return [*symbols, last[-1]]


def outputs_for(task, batch, classes, logit=20.0):
    """Outputs that name a class at every step, with nonsense after the end."""
    outputs = np.full((*batch.inputs.shape, task.output_size), 0.0, np.float32)
    outputs[...] = logit * np.eye(task.output_size, dtype=np.float32)[classes]
    if batch.lengths is not None:
        outputs[np.arange(len(outputs))[:, None] >= batch.lengths] = 1e6
    return outputs


SMALL = [Lag1997(experiment="2a", p=4), Lag1997(experiment="2b", p=4),
         Lag1997(experiment="2c", p=3, q=2)]  # fmt: skip


@pytest.mark.parametrize("task", SMALL, ids=lambda task: task.experiment)
def test_sequences_are_as_often_as_those_written_by_hand(task):
    batch, rng = drawn(task, MANY), random.Random(0)
    shares = []
    for sequences in (
        [read(task, batch, row) for row in range(4000)],
        [written(task, rng) for _ in range(4000)],
    ):
        assert {s[0] for s in sequences} == ({"b"} if task.experiment == "2c" else {"x", "y"})
        counts = {}
        for sequence in sequences:
            # Whole sequences; of the many long ones of 2c, their lengths and ends.
            kind = tuple(sequence if len(sequence) <= 6 else [len(sequence), *sequence[-2:]])
            counts[kind] = counts.get(kind, 0) + 1 / len(sequences)
        shares.append(counts)
    for kind in {*shares[0], *shares[1]}:
        share, expected = (each.get(kind, 0.0) for each in shares)
        # Five standard deviations of the difference of two shares.
        error = 5 * math.sqrt(2 * max(share, expected) / 4000)
        assert abs(share - expected) < max(error, 5 * 2 / 4000), (kind, share, expected)


def test_the_sizes_of_2a_and_2b_are_those_of_the_paper():
    for experiment in ("2a", "2b"):
        task = Lag1997(experiment=experiment)
        batch = drawn(task, 2)
        assert task.input_size == task.output_size == 101
        assert batch.inputs.shape == batch.targets.shape == (100, 2)
        assert batch.lengths is None


def test_the_expected_length_of_2c_is_q_plus_13_with_its_target():
    lengths = drawn(SMALL[2], MANY).lengths + 1
    q = SMALL[2].least
    assert lengths.min() == q + 4
    assert abs(lengths.mean() - (q + 13)) < 0.5  # k has the mean 9; the paper's sum has 4 + q + 9
    assert lengths.max() <= q + 4 + MOST_ADDED
    more = np.mean(lengths >= q + 4 + 20)
    assert abs(more - 0.9**20) < 0.02


def test_2c_at_a_lag_of_1000_has_few_symbols():
    task = Lag1997(experiment="2c", p=50, q=1000)
    batch = drawn(task, 3)
    assert batch.inputs.shape == (1000 + 3 + MOST_ADDED, 3)
    assert (batch.inputs[0] == 51).all()
    assert set(batch.inputs[1]) <= {52, 53}
    assert batch.inputs[2:1002].max() < 50
    assert batch.inputs.max() < task.input_size == 54


@pytest.mark.parametrize("task", SMALL, ids=lambda task: task.experiment)
def test_an_oracle_with_memory_solves_it_and_one_without_reaches_the_baseline(task):
    batch = drawn(task, MANY)
    classes = batch.targets if batch.lengths is None else batch.targets[-1:]
    perfect = measured(task, outputs_for(task, batch, classes), batch)
    assert task.solved.reached(perfect)
    assert perfect["end_cross_entropy"] < 1e-6
    # Without memory of the first symbol, x and y are equally likely at the end.
    x = task.output_size - 2
    guess = np.full((*batch.inputs.shape, task.output_size), -1e6, np.float32)
    guess[..., x:] = 0.0
    metrics = measured(task, guess, batch)
    assert metrics["end_cross_entropy"] == pytest.approx(
        task.baselines((), "test")["memoryless"], rel=1e-5
    )
    assert metrics["wrong"] == 1


def test_only_in_2a_every_step_has_to_be_right():
    for task, expected in zip(SMALL[:2], (1.0, 0.0), strict=True):
        batch = drawn(task, MANY)
        classes = batch.targets.copy()
        classes[0] = (classes[0] + 1) % task.output_size
        metrics = measured(task, outputs_for(task, batch, classes), batch)
        assert metrics["wrong"] == expected
        assert metrics["loss"] > 1


@pytest.mark.parametrize(("task", "tolerance"), [*zip(SMALL, (0.25, 0.25, 0.2), strict=True)])
def test_the_tolerance_is_that_of_the_paper(task, tolerance):
    batch = drawn(task, MANY)
    classes = batch.targets if batch.lengths is None else batch.targets[-1:]
    for error, wrong in ((tolerance - 0.01, 0.0), (tolerance + 0.01, 1.0)):
        others = task.output_size - 1
        # The softmax gives the named class 1 - error, and all others the rest.
        logit = math.log((1 - error) / (error / others))
        metrics = measured(task, outputs_for(task, batch, classes, logit), batch)
        assert metrics["wrong"] == wrong


def test_logistic_units_have_the_squared_errors_of_1997():
    for task in (Lag1997(p=4, objective="squared"), Lag1997("lag_1997", "2c", 3, 2, "squared")):
        batch = drawn(task, MANY)
        outputs = np.zeros((*batch.inputs.shape, task.output_size), np.float32)
        metrics = measured(task, outputs, batch)
        assert metrics["loss"] == pytest.approx(task.output_size / 4)
        assert metrics["mean_error"] == pytest.approx(0.5)


def test_a_q_without_2c_is_an_error_and_held_out_sequences_are_alike():
    with pytest.raises(ValueError, match=r"^task.q: only experiment 2c has one; got 5 in 2b"):
        drawn(Lag1997(experiment="2b", q=5), 1)
    task = SMALL[2]
    held_out = drawn(task, MANY, "test")
    np.testing.assert_array_equal(held_out.inputs, drawn(task, MANY).inputs)


def test_the_smallest_alphabet():
    batch = drawn(Lag1997(experiment="2b", p=2), 50)
    assert batch.inputs.shape == (2, 50)
    assert (batch.inputs[1] == 0).all()
    assert (batch.inputs[0] == batch.targets[1]).all()
