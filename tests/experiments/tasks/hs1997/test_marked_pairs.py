"""Experiments 4 and 5 of 1997: their sequences against plain Python, errors and baselines."""

import random

import numpy as np
import pytest

from experiments.tasks.hs1997 import Adding1997, Multiplication1997
from experiments.tasks.hs1997.marked_pairs import first_pair_marked
from tests.helpers.drawn_tasks import drawn, measured

MANY = 20_000
T = 24
TASKS = [Adding1997(length=T), Multiplication1997(length=T)]
LOW, NEUTRAL = {"adding_1997": -1.0, "multiplication_1997": 0.0}, {
    "adding_1997": 0.0, "multiplication_1997": 1.0}  # fmt: skip


def marks_by_hand(count, length):
    """The two marked pairs of sequences, chosen as the paper describes it."""
    rng, found = random.Random(0), []
    for _ in range(count):
        first = rng.choice(range(10))
        unmarked = [i for i in range(length) if i != first]
        found.append({first, rng.choice(unmarked[: length // 2 - 1])})
    return found


def answer(task, pairs):
    """The target of a sequence of (value, marker), from what can be seen."""
    marked = [value for value, marker in pairs if marker == 1]
    if task.name == "adding_1997":
        return 0.5 + sum(marked) / 4
    return float(np.prod(marked))


def outputs_for(batch, answers):
    outputs = np.full((*batch.inputs.shape[:2], 1), 99.0, np.float32)
    outputs[batch.lengths - 1, np.arange(len(answers)), 0] = answers
    return outputs


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_target_can_be_read_off_the_sequence(task):
    batch = drawn(task, MANY)
    for row in range(2000):
        length = batch.lengths[row]
        pairs = batch.inputs[:length, row]
        assert T <= length <= T + 2
        assert pairs[0, 1] == pairs[-1, 1] == -1
        assert set(pairs[1:-1, 1]) <= {0.0, 1.0}
        assert not batch.inputs[length:, row].any()
        marks = int((pairs[:, 1] == 1).sum())
        assert marks in (1, 2)
        if marks == 1:
            assert pairs[0, 0] == NEUTRAL[task.name]
        assert batch.targets[0, row] == pytest.approx(answer(task, pairs), abs=1e-6)


def test_the_pairs_are_marked_as_by_hand():
    markers = drawn(TASKS[0], MANY).inputs[..., 1]
    shares, expected = np.zeros((T, T)), np.zeros((T, T))
    for row in markers.T:
        marked = np.flatnonzero(row == 1)
        shares[marked[0], marked[-1]] += 1 / MANY
    for marks in marks_by_hand(MANY, T):
        seen = sorted(marks - {0})
        expected[seen[0], seen[-1]] += 1 / MANY
    np.testing.assert_allclose(shares, expected, atol=5 * np.sqrt(2 * expected.max() / MANY))
    assert (shares[:, T // 2 :] == 0).all()
    alone = np.diag(np.diag(shares))
    assert (shares[10:] == alone[10:]).all()
    assert (np.diag(shares) > 0).sum() == T // 2 - 1  # the first pair was the other


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_values_and_lengths_are_uniform(task):
    batch = drawn(task, MANY)
    values = batch.inputs[1 : T - 1, :, 0]
    low = LOW[task.name]
    assert low <= values.min() < low + 1e-3
    assert 1 - 1e-3 < values.max() < 1
    quarters = np.histogram(values, bins=4, range=(low, 1))[0] / values.size
    np.testing.assert_allclose(quarters, 0.25, atol=0.005)
    np.testing.assert_allclose(np.bincount(batch.lengths)[T:] / MANY, 1 / 3, atol=0.02)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_constant_has_the_baseline_as_its_error_and_no_constant_a_smaller_one(task):
    batch = drawn(task, MANY)
    (baseline,) = task.baselines((), "test").values()
    mean = batch.targets.mean()
    errors = {
        shift: measured(task, outputs_for(batch, np.full(MANY, mean + shift)), batch)["loss"]
        for shift in (-0.05, 0.0, 0.05)
    }
    assert errors[0.0] == pytest.approx(baseline, rel=0.02)
    assert min(errors, key=errors.__getitem__) == 0.0
    if task.name == "adding_1997":
        assert mean == pytest.approx(0.5, abs=0.005)
    hidden = np.mean((batch.inputs[..., 1] == 1).sum(axis=0) == 1)
    assert hidden == pytest.approx(first_pair_marked(T), abs=0.005)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_an_oracle_reaches_the_goals_and_errors_above_0_04_are_wrong(task):
    batch = drawn(task, MANY)
    for error, wrong in ((0.0, 0.0), (0.039, 0.0), (0.041, 1.0)):
        metrics = measured(task, outputs_for(batch, batch.targets[0] + error), batch)
        assert metrics["wrong"] == wrong
        assert metrics["mean_error"] == pytest.approx(error, abs=1e-5)
        assert metrics["mse"] == pytest.approx(error**2, abs=1e-5)
        if error == 0:
            assert task.solved.reached(metrics)
            assert task.mastered is None or task.mastered.reached(metrics)


def test_the_criteria_are_those_of_the_paper():
    assert str(Adding1997.solved) == "wrong < 0.0005 and mean_error < 0.01"
    assert Multiplication1997.solved.threshold == 140 / 2000
    assert Multiplication1997.mastered is not None
    assert Multiplication1997.mastered.threshold == 13 / 2000


def test_the_shortest_sequences_have_their_marks_in_the_first_half():
    batch = drawn(Adding1997(length=20), 2000)
    marked = np.flatnonzero((batch.inputs[..., 1] == 1).any(axis=1))
    assert marked.tolist() == list(range(1, 10))
