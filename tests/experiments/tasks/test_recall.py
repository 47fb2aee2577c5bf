"""The options of the copy tasks: forms of papers, drawn delays, loss, and scattered symbols."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config.task import task_class
from experiments.tasks import Copy, SelectiveCopy
from experiments.tasks.recall import Recall

BLANK, DELIMITER = 8, 9


def drawn(task, count=50, split="test", seed=0):
    batch = jax.jit(task.sample, static_argnums=(1, 3))((), split, jax.random.key(seed), count)
    return jax.tree.map(np.asarray, batch)


def sequence(task, symbols, blanks):
    """A copy sequence, step by step: symbols, blanks, delimiter, and what follows."""
    steps = [*symbols, *[BLANK] * blanks, DELIMITER]
    again = DELIMITER if task.delimiter == "repeated" else BLANK
    following = len(symbols) - (1 if task.recall == "on" else 0)
    return [*steps, *[again] * following]


# Blanks before the delimiter, delimiters, and steps, in the code of each paper for T = 5.
FORMS = {
    "Arjovsky et al. 2016": (Copy(delay=5), 4, 1, 25),
    "Lezcano-Casado & Martinez-Rubio 2019": (Copy(delay=5, recall="on"), 5, 1, 25),
    "Bai et al. 2018": (Copy(delay=5, delimiter="repeated"), 4, 11, 25),
    "Gu et al. 2022": (Copy(delay=5, recall="on", delimiter="repeated"), 5, 10, 25),
    "van der Westhuizen & Lasenby 2018": (Copy(delay=6), 5, 1, 26),
}


@pytest.mark.parametrize("paper", FORMS)
def test_the_forms_of_papers(paper):
    task, blanks, delimiters, length = FORMS[paper]
    batch = drawn(task, 20)
    assert task.length == length
    for inputs, targets in zip(batch.inputs.T, batch.targets.T, strict=True):
        symbols = inputs[:10].tolist()
        assert max(symbols) < BLANK
        assert inputs.tolist() == sequence(task, symbols, blanks)
        assert (inputs == DELIMITER).sum() == delimiters
        assert targets.tolist() == [BLANK] * (length - 10) + symbols
    assert task.baselines((), "test") == {"memoryless": 10 * math.log(8) / length}


@pytest.mark.parametrize("task", [
    Copy(delay=7, min_delay=2, held_out="drawn"),
    Copy(delay=7, min_delay=2, held_out="drawn", recall="on", delimiter="repeated"),
])  # fmt: skip
def test_delays_are_drawn_for_tests_as_well(task):
    batch = drawn(task, 3000)
    delays = batch.lengths - 20
    np.testing.assert_allclose(np.bincount(delays)[2:] / 3000, 1 / 6, atol=0.03)
    blanks = delays - (task.recall == "after")
    for row in range(20):
        length, inputs = batch.lengths[row], batch.inputs[:, row].tolist()
        assert inputs[:length] == sequence(task, inputs[:10], blanks[row])
        assert set(inputs[length:]) <= {BLANK}
        assert batch.targets[length - 10 : length, row].tolist() == inputs[:10]
    assert not np.array_equal(drawn(task, 50).lengths, drawn(task, 50, seed=1).lengths)


@pytest.mark.parametrize("task", [
    Copy(delay=30, symbols=3, alphabet=5),
    SelectiveCopy(delay=40, min_delay=1, held_out="drawn"),
])  # fmt: skip
def test_the_baseline_is_the_loss_of_a_solution_that_remembers_no_symbol(task):
    batch = drawn(task, 4000)
    alphabet = task.alphabet
    lengths = np.full(4000, task.length) if batch.lengths is None else batch.lengths
    recalling = np.arange(task.length)[:, None] >= lengths - task.symbols
    guess = np.where(np.arange(alphabet + 1) < alphabet, 0.0, -1e9)
    blank = np.where(np.arange(alphabet + 1) == alphabet, 0.0, -1e9)
    outputs = jnp.asarray(np.where(recalling[..., None], guess, blank), jnp.float32)
    (expected,) = task.baselines((), "test").values()
    metrics = jax.jit(task.metrics)(outputs, batch)
    np.testing.assert_allclose(metrics["cross_entropy"], expected, rtol=0.01)
    assert float(metrics["recall_accuracy"]) < 1.2 / alphabet


@pytest.mark.parametrize("min_delay", [None, 2])
def test_the_loss_of_the_recall_leaves_out_other_steps(min_delay):
    """The metric is of all steps with both losses."""
    every, recall = (Copy(delay=6, min_delay=min_delay, loss_steps=s) for s in ("all", "recall"))
    batch = drawn(every, 40, "train")
    outputs = np.random.default_rng(0).normal(size=(26, 40, 9)).astype(np.float32)
    log_p = outputs - np.log(np.exp(outputs).sum(axis=-1, keepdims=True))
    each = -np.take_along_axis(log_p, batch.targets[..., None], axis=-1)[..., 0]
    t = np.arange(26)[:, None]
    lengths = np.full(40, 26) if min_delay is None else batch.lengths
    valid, recalling = t < lengths, (t < lengths) & (t >= lengths - 10)
    for task, steps in ((every, valid), (recall, recalling)):
        loss, grad = jax.jit(jax.value_and_grad(task.loss))(outputs, batch)
        np.testing.assert_allclose(loss, each[steps].mean(), rtol=1e-5)
        assert not np.asarray(grad)[~steps].any()
    metrics = jax.jit(recall.metrics)(outputs, batch)
    assert float(metrics["cross_entropy"]) == pytest.approx(each[valid].mean(), rel=1e-5)


@pytest.mark.parametrize("recall", ["after", "on"])
def test_scattered_symbols_are_recalled_in_their_order(recall):
    task = SelectiveCopy(delay=6, recall=recall)
    batch = drawn(task, 2000)
    before = 15 if recall == "after" else 16
    assert (batch.inputs[before] == DELIMITER).all()
    assert (batch.inputs[before + 1 :] == BLANK).all()
    for inputs, targets in zip(batch.inputs.T, batch.targets.T, strict=True):
        symbols = [x for x in inputs[:before].tolist() if x != BLANK]
        assert len(symbols) == 10
        assert targets.tolist() == [BLANK] * 16 + symbols
    share = (batch.inputs[:before] < BLANK).mean(axis=1)
    np.testing.assert_allclose(share, 10 / before, atol=0.05)
    symbols = batch.targets[-10:]
    np.testing.assert_allclose(np.bincount(symbols.ravel()) / symbols.size, 1 / 8, atol=0.01)


def test_selective_copy_in_the_form_of_gu_and_dao():
    task = SelectiveCopy(
        delay=4064, symbols=16, alphabet=14, recall="on", delimiter="repeated", loss_steps="recall"
    )
    batch = drawn(task, 4)
    assert (task.input_size, task.output_size, task.length) == (16, 15, 4096)
    assert (batch.inputs[4080:] == 15).all()
    assert ((batch.inputs[:4080] < 14).sum(axis=0) == 16).all()


@pytest.mark.parametrize("task", [
    Copy(delay=1),
    Copy(delay=5, min_delay=5, held_out="drawn", delimiter="repeated"),
    SelectiveCopy(delay=1),
    SelectiveCopy(delay=1, symbols=1, alphabet=2, recall="on"),
])  # fmt: skip
def test_a_network_without_an_error_reaches_both_goals(task):
    batch = drawn(task, 30)
    outputs = 30 * np.eye(task.output_size, dtype=np.float32)[batch.targets]
    metrics = jax.jit(task.metrics)(outputs, batch)
    assert task.solved.reached(metrics)
    assert task.mastered.reached(metrics)
    assert float(metrics["cross_entropy"]) < 1e-6


def test_drawn_held_out_delays_need_a_shortest_one():
    with pytest.raises(ValueError, match=r"^task.held_out: drawn needs a task.min_delay; got none"):
        drawn(Copy(held_out="drawn"))


def test_a_task_of_recall_has_its_positions_in_a_class_of_its_own():
    with pytest.raises(NotImplementedError, match="Recall has no positions"):
        Recall(name="mine").positions(jax.random.key(0), jnp.array([9]))


@pytest.mark.parametrize("make", [Copy, SelectiveCopy])
def test_the_sizes_of_the_model_follow_the_alphabet(make):
    assert task_class(make().name) is make
    task = make(alphabet=3, symbols=4, delay=9)
    assert (task.input_size, task.output_size, task.blank, task.length) == (5, 4, 3, 17)
