"""Associative recall: pairs of a letter and a digit, and the digit of one letter."""

import math
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from experiments.config.model import model_config
from experiments.model import make_model
from experiments.tasks import AssociativeRecall
from experiments.tasks.associative_recall import CHARACTERS
from experiments.tasks.associative_recall_figures import answers, memory

MANY = 20_000


def drawn(task, count=MANY):
    batch = jax.jit(task.sample, static_argnums=(1, 3))((), "test", jax.random.key(0), count)
    return jax.tree.map(np.asarray, batch)


def texts(batch):
    return ["".join(CHARACTERS[each] for each in row) for row in batch.inputs.T]


@pytest.fixture(scope="module")
def many():
    return drawn(AssociativeRecall())


def test_a_sequence_is_pairs_question_marks_and_a_letter(many):
    for text, target in zip(texts(many)[:200], many.targets[0], strict=False):
        letters, digits, waiting, asked = text[:8:2], text[1:8:2], text[8:10], text[10:]
        assert letters.isalpha()
        assert len(set(letters)) == 4
        assert digits.isdigit()
        assert waiting == "??"
        assert str(target) == dict(zip(letters, digits, strict=True))[asked]


def test_letters_digits_and_the_question_are_uniform(many):
    letters, digits = many.inputs[:8:2] - 10, many.inputs[1:8:2]
    np.testing.assert_allclose(np.bincount(letters.ravel()) / (4 * MANY), 1 / 26, atol=0.004)
    np.testing.assert_allclose(np.bincount(digits.ravel()) / (4 * MANY), 1 / 10, atol=0.006)
    pairs = Counter(zip(letters[0].tolist(), letters[1].tolist(), strict=True))
    assert len(pairs) == 26 * 25
    asked = (many.inputs[-1] - 10 == letters).argmax(axis=0)
    np.testing.assert_allclose(np.bincount(asked) / MANY, 1 / 4, atol=0.015)


@pytest.mark.parametrize("pairs", [1, 4, 26])
def test_the_baselines_are_the_losses_of_their_strategies(many, pairs):
    """Guessing, and giving the digits that came the probabilities with which they came."""
    task = AssociativeRecall(pairs=pairs)
    batch = many if pairs == 4 else drawn(task, 5000)
    count = batch.inputs.shape[1]
    digits = batch.inputs[1 : 2 * pairs : 2]
    came = np.stack([(digits == digit).mean(axis=0) for digit in range(10)], axis=-1)
    with np.errstate(divide="ignore"):
        known = np.maximum(np.log(came), -1e9)
    baselines = task.baselines((), "test")
    guess = task.loss(jnp.zeros((1, count, 10)), batch)
    np.testing.assert_allclose(guess, baselines["guess"], rtol=1e-5)
    loss = task.loss(jnp.asarray(known[None], jnp.float32), batch)
    np.testing.assert_allclose(loss, baselines["digits without letters"], rtol=0.02, atol=1e-6)
    if pairs == 1:
        assert baselines["digits without letters"] == 0
    assert baselines["guess"] == math.log(10)


def test_a_network_that_is_always_right_reaches_both_goals(many):
    outputs = np.full((11, MANY, 10), 7.0, np.float32)
    outputs[-1] = 30 * np.eye(10)[many.targets[0]]
    metrics = jax.jit(AssociativeRecall().metrics)(outputs, many)
    assert AssociativeRecall.solved.reached(metrics)
    assert AssociativeRecall.mastered.reached(metrics)
    wrong = outputs.copy()
    wrong[-1, : MANY // 50] = 30 * np.eye(10)[(many.targets[0, : MANY // 50] + 1) % 10]
    metrics = jax.jit(AssociativeRecall().metrics)(wrong, many)
    assert float(metrics["accuracy"]) == pytest.approx(0.98)


def test_the_pairs_are_kept_for_longer_with_more_question_marks():
    task = AssociativeRecall(pairs=2, delay=5)
    batch = drawn(task, 3)
    assert task.length == len(batch.inputs) == 10
    assert all(text[4:9] == "?????" for text in texts(batch))


@pytest.mark.parametrize(("field", "value"), [("pairs", 0), ("pairs", 27), ("delay", 0)])
def test_values_out_of_range_are_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        AssociativeRecall(**{field: value})


@pytest.mark.slow
def test_the_figures_show_the_answer_to_every_letter_and_the_digits_kept():
    task = AssociativeRecall(pairs=3)
    model = make_model(model_config(hidden_size=5), task)
    params = model.init(jax.random.key(0))
    shown = answers(task, model, params, jax.random.key(1), sequences=2)
    first, second, _ = shown.axes
    told = np.asarray(first.images[0].get_array())
    assert told.shape == (3, 10)
    np.testing.assert_allclose(told.sum(axis=1), 1, rtol=1e-5)
    text = second.get_title()
    frames = [patch.get_xy() for patch in second.patches]
    assert frames == [(int(digit) - 0.5, row - 0.5) for row, digit in enumerate(text[1::2])]
    assert [label.get_text() for label in second.get_yticklabels()] == list(text[::2])
    axes = memory(task, model, params, jax.random.key(1), 100).axes[0]
    assert axes.collections[0].get_array().shape == (3, 9)
