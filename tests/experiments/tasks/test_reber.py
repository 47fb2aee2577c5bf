"""The embedded Reber grammar task: batches, metrics, fixed sets of strings, baseline and figure."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from pydantic import ValidationError

from experiments.config.model import model_config
from experiments.model import make_model
from experiments.tasks import Reber
from experiments.tasks.reber_grammar import LOSSES, SYMBOLS, as_text
from tests.experiments.tasks.test_reber_grammar import STRING
from tests.helpers.toys import slow_case

TASK = Reber(length=30)


@functools.partial(jax.jit, static_argnames=("task", "count", "split"))
def sample(task, data, split, key, count):
    return task.sample(data, split, key, count)


def drawn(task=TASK, count=500, split="train", seed=0, data=None):
    return jax.tree.map(np.asarray, sample(task, data or {}, split, jax.random.key(seed), count))


def columns(batch):
    """The strings of a batch, of the inputs and the last target."""
    for inputs, following, n in zip(
        batch.inputs.T, batch.targets.symbols.T, batch.lengths, strict=True
    ):
        assert (inputs[1:n] == following[: n - 1]).all()
        yield as_text(inputs[:n]) + SYMBOLS[following[n - 1]]


@functools.partial(jax.jit, static_argnames="task")
def compiled_metrics(task, outputs, batch):
    return task.metrics(outputs, batch)


def metrics(outputs, batch, task=TASK):
    found = compiled_metrics(task, jnp.asarray(outputs, jnp.float32), batch)
    return {name: float(value) for name, value in found.items()}


def test_a_batch_has_strings_of_the_grammar_without_their_last_symbols():
    batch = drawn()
    assert batch.inputs.shape == batch.targets.symbols.shape == (30, 500)
    assert batch.lengths.min() == 8
    assert batch.lengths.max() <= 30
    assert all(map(STRING.fullmatch, columns(batch)))
    assert drawn(Reber(length=8)).lengths.tolist() == [8] * 500


def test_a_batch_is_a_function_of_its_key_and_of_nothing_else():
    np.testing.assert_array_equal(drawn().inputs, drawn(split="test").inputs)
    assert (drawn().inputs != drawn(seed=1).inputs).any()


def test_an_oracle_that_remembers_reaches_the_goals():
    batch = drawn()
    found = metrics(np.where(batch.targets.possible, 1.0, 0.0), batch)
    assert all(goal.reached(found) for goal in (Reber.solved, Reber.mastered))
    assert found["right_steps"] == found["right_second_last"] == 1


def test_without_memory_of_the_second_symbol_half_of_the_strings_are_right():
    """An oracle of the last three symbols, with their following symbols counted elsewhere."""
    counts = collections.defaultdict(lambda: np.zeros(7))
    for text in columns(drawn(seed=1)):
        for n in range(1, len(text)):
            counts[text[max(0, n - 3) : n]][SYMBOLS.index(text[n])] += 1
    batch = drawn(seed=2)
    outputs = np.zeros((*batch.inputs.shape, 7))
    for row, text in enumerate(columns(batch)):
        for n in range(1, len(text)):
            outputs[n - 1, row] = counts[text[max(0, n - 3) : n]]
    found = metrics(outputs, batch)
    (baseline,) = TASK.baselines({}, "test").values()
    assert found["right_strings"] == pytest.approx(baseline, abs=0.06)
    assert found["right_second_last"] == found["right_strings"]
    # Every other step is right.
    wrong = (1 - found["right_steps"]) * batch.lengths.sum()
    assert wrong == pytest.approx((1 - found["right_strings"]) * 500, abs=1)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_padding_changes_no_loss_and_no_metric(activation):
    task = Reber(length=30, activation=activation)
    batch = drawn(count=20)
    outputs = np.random.default_rng(0).normal(size=(30, 20, 7))
    after = np.arange(30)[:, None] >= batch.lengths
    other = np.where(after[..., None], 1e3, outputs)
    assert metrics(outputs, batch, task) == metrics(other, batch, task)
    # The mean of the steps, each as long as its string.
    symbols = np.eye(7)[batch.targets.symbols]
    if activation == "softmax":
        each = np.log(np.exp(outputs).sum(-1)) - (outputs * symbols).sum(-1)
    else:
        each = np.square(1 / (1 + np.exp(-outputs)) - symbols).sum(-1)
    assert metrics(outputs, batch, task)[LOSSES[activation]] == pytest.approx(
        each[~after].mean(), rel=1e-5
    )


def test_metrics_count_strings_steps_and_second_last_symbols():
    batch = drawn(count=4)
    outputs = np.where(batch.targets.possible, 1.0, 0.0)
    # Wrong at the second-last symbol of one string, and at the first prediction of another one.
    outputs[batch.lengths[0] - 2, 0] = outputs[0, 1] = 0
    found = metrics(outputs, batch)
    assert found["right_strings"] == 0.5
    assert found["right_second_last"] == 0.75
    assert found["right_steps"] == pytest.approx(1 - 2 / batch.lengths.sum())


def test_a_string_of_a_fixed_set_is_in_no_other_set():
    task = Reber(length=30, strings=256)
    data = task.load()
    of_split = {}
    for split in ("train", "validation", "test"):
        batch = drawn(task, 256, split, data=data)
        of_split[split] = list(columns(batch))
        assert all(map(STRING.fullmatch, of_split[split]))
        again = drawn(task, 256, split, seed=1, data=data)
        assert (again.inputs == batch.inputs).all() == (split != "train")
    walk, counts = data["train"]
    train = {as_text(s[:n]) for s, n in zip(walk.symbols.T, counts, strict=True)}
    assert len(counts) == 256
    assert set(of_split["train"]) <= train
    # Drawn with replacement: about 1 - 1/e of the strings, some of which are equal.
    assert len(set(of_split["train"])) < len(train)
    assert not train & {*of_split["validation"], *of_split["test"]}
    # What is mastered on one held-out set says nothing about the strings of the other.
    assert not {*of_split["validation"]} & {*of_split["test"]}
    assert len(set(of_split["test"])) > 100


def test_sets_that_are_too_small_are_errors():
    task = Reber(length=60, strings=10)
    with pytest.raises(ValueError, match=r"^reber: the test set has .* 10; got a batch size of 11"):
        task.sample(task.load(), "test", jax.random.key(0), 11)
    with pytest.raises(ValueError, match=r"^task.strings: .*choose fewer strings, or a length abo"):
        Reber(length=8, strings=100).load()
    with pytest.raises(ValidationError, match="greater than or equal to 8"):
        Reber(length=7)


@pytest.mark.parametrize("cell", ["lstm", slow_case("mlstm")])
def test_the_figure_has_a_panel_of_the_memory_if_there_are_units(cell):
    model = make_model(model_config(cell, hidden_size=4), TASK)
    params = model.init(jax.random.key(0))
    figure = TASK.figures(model, params, {}, jax.random.key(0), 20)["memory.png"]
    FigureCanvasAgg(figure).draw()
    titles = [axes.get_title() for axes in figure.axes]
    assert sum("memory" in title for title in titles) == (cell == "lstm")
    # The string is the same but for two symbols.
    labels = [
        tick.get_text() for tick in figure.axes[-1 if cell == "mlstm" else 2].get_xticklabels()
    ]
    assert [k for k, label in enumerate(labels) if label == "T/P"] == [1, len(labels) - 1]
