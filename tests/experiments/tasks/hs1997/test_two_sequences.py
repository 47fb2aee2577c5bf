"""Experiment 3 of 1997: its sequences, errors, criteria and baseline."""

import jax
import numpy as np
import pytest

from experiments.tasks.hs1997 import TwoSequences1997
from tests.helpers.drawn_tasks import drawn, measured

MANY = 20_000
TASKS = [
    TwoSequences1997(experiment="3a", length=20),
    TwoSequences1997(experiment="3b", length=20, signal=1),
    TwoSequences1997(experiment="3c", length=20),
]


def outputs_for(batch, units):
    """Logits whose unit has these values at the last step, with nonsense at all others."""
    outputs = np.full((*batch.inputs.shape[:2], 1), 7.0, np.float32)
    units = np.clip(units, 1e-6, 1 - 1e-6)
    outputs[batch.lengths - 1, np.arange(len(units)), 0] = np.log(units / (1 - units))
    return outputs


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.experiment)
def test_the_first_numbers_tell_the_class_and_all_others_are_noise(task):
    batch = drawn(task, MANY)
    x, n = batch.inputs[..., 0], task.signal
    expected = batch.targets.expected[0]
    first = expected == {"3a": 1.0, "3b": 1.0, "3c": np.float32(0.2)}[task.experiment]
    assert set(expected[~first]) == {{"3a": 0.0, "3b": 0.0, "3c": np.float32(0.8)}[task.experiment]}
    assert abs(first.mean() - 0.5) < 0.02
    assert x.shape == (22, MANY)
    np.testing.assert_allclose(np.bincount(batch.lengths)[20:] / MANY, 1 / 3, atol=0.02)
    told, t = np.where(first, 1.0, -1.0), np.arange(22)[:, None]
    noise = x[(t >= n) & (t < batch.lengths)]
    assert abs(noise.mean()) < 0.005
    assert abs(noise.var() - 0.2) < 0.005
    # A normal distribution has 4.55 % beyond two standard deviations.
    assert abs(np.mean(np.abs(noise) > 2 * 0.2**0.5) - 0.0455) < 0.005
    if task.experiment == "3b":
        assert abs((x[:n] - told).var() - 0.2) < 0.01
        assert abs((x[:n] - told).mean()) < 0.02
    else:
        assert (x[:n] == told).all()
    assert (x[(t >= batch.lengths)] == 0).all()


def test_only_the_targets_of_3c_have_noise():
    for task in TASKS:
        noisy, expected = drawn(task, MANY).targets
        if task.experiment == "3c":
            assert abs((noisy - expected).var() - 0.1) < 0.005
            assert abs((noisy - expected).mean()) < 0.01
        else:
            np.testing.assert_array_equal(noisy, expected)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.experiment)
def test_an_oracle_reaches_the_goals_and_a_constant_the_baseline(task):
    batch = drawn(task, MANY)
    told = batch.inputs[: task.signal, :, 0].mean(axis=0)
    low, high = {"3a": (0.0, 1.0), "3b": (0.0, 1.0), "3c": (0.8, 0.2)}[task.experiment]
    share = (told > 0).astype(np.float64)
    metrics = measured(task, outputs_for(batch, low + (high - low) * share), batch)
    assert task.solved.reached(metrics)
    assert task.mastered is None or task.mastered.reached(metrics)
    for constant in (0.3, 0.5):
        found = measured(task, outputs_for(batch, np.full(MANY, constant)), batch)
        baseline = task.baselines((), "test")["memoryless"]
        assert found["mean_error"] == pytest.approx(baseline, abs=0.01)
        assert not task.solved.reached(found)


def test_the_best_probabilities_of_3b_are_too_often_unsure():
    """With N = 1 a hard decision reaches the criterion, the posterior of the class does not."""
    task = TASKS[1]
    batch = drawn(task, MANY)
    posterior = 1 / (1 + np.exp(-2 * batch.inputs[0, :, 0] / 0.2))
    metrics = measured(task, outputs_for(batch, posterior), batch)
    # Below 0.8 where x < ln(4) / 10, with x from N(1, 0.2): 2.7 %.
    assert metrics["wrong"] == pytest.approx(0.0271, abs=0.005)
    assert not task.solved.reached(metrics)


def test_the_loss_is_least_at_the_expectation_of_the_targets():
    task = TASKS[2]
    batch = drawn(task, MANY)
    units = batch.targets.expected[0]

    def loss(shift):
        return measured(task, outputs_for(batch, units + shift), batch)["loss"]

    assert loss(0.0) < min(loss(0.05), loss(-0.05))
    # Its gradient by the logit is the error of the unit.
    outputs = outputs_for(batch, np.full(MANY, 0.5))
    grad = np.array(jax.jit(jax.grad(task.loss))(outputs, batch))
    at = (batch.lengths - 1, np.arange(MANY), 0)
    np.testing.assert_allclose(grad[at] * MANY, 0.5 - batch.targets.noisy[0], rtol=1e-4, atol=1e-6)
    grad[at] = 0
    assert not grad.any()


def test_the_criteria_are_those_of_the_paper():
    a, b, c = TASKS
    assert str(a.solved) == "wrong < 0.00390625"
    assert str(a.mastered) == "wrong < 0.00390625 and mean_error < 0.01"
    assert b.solved.threshold == 6 / 256
    assert str(b.mastered) == "wrong < 0.0234375 and mean_error < 0.04"
    assert str(c.solved) == "wrong < 0.00390625 and mean_error < 0.015"
    assert c.mastered is None
    for task, tolerance in zip(TASKS, (0.2, 0.2, 0.1), strict=True):
        batch = drawn(task, MANY)
        for error, wrong in ((tolerance - 0.01, 0.0), (tolerance + 0.01, 1.0)):
            units = np.abs(batch.targets.expected[0] - error)
            assert measured(task, outputs_for(batch, units), batch)["wrong"] == wrong


def test_the_objective_can_be_the_squared_error_of_1997():
    task = TwoSequences1997(experiment="3c", length=20, objective="squared")
    batch = drawn(task, MANY)
    metrics = measured(task, outputs_for(batch, batch.targets.expected[0]), batch)
    assert metrics["loss"] == pytest.approx(0.1, rel=0.05)  # the variance of the noise
    assert metrics["mean_error"] < 1e-5


def test_a_signal_longer_than_the_sequence_is_an_error():
    batch = drawn(TwoSequences1997(length=1, signal=1), 5)
    assert batch.inputs.shape == (1, 5, 1)
    with pytest.raises(ValueError, match=r"^task.signal: must be at most task.length \(5\); got 6"):
        drawn(TwoSequences1997(length=5, signal=6), 1)
