"""The continual Reber grammar task: streams, the first error, baseline, goals and figure."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from pydantic import ValidationError

from experiments.config.model import model_config
from experiments.model import make_model
from experiments.tasks import Batch, ContinualReber
from experiments.tasks.continual_reber_figures import Stream, forgetting, keeping
from experiments.tasks.reber_grammar import SYMBOLS, Next

TASK = ContinualReber(length=30, eval_length=1000)


@functools.partial(jax.jit, static_argnames=("task", "split"))
def sample(task, split, key):
    return task.sample((), split, key, 200)


@functools.partial(jax.jit, static_argnames="task")
def metrics(task, outputs, batch):
    return task.metrics(outputs, batch)


def drawn(split="test", seed=0):
    return jax.tree.map(np.asarray, sample(TASK, split, jax.random.key(seed)))


def values(outputs, batch, task=TASK):
    found = metrics(task, jnp.asarray(outputs, jnp.float32), batch)
    return {name: float(value) for name, value in found.items()}


def test_streams_are_as_long_as_their_split_and_start_with_a_string():
    train, test = drawn("train"), drawn()
    assert train.inputs.shape == (30, 200)
    assert test.inputs.shape == (1000, 200)
    for batch in (train, test):
        assert batch.lengths is None
        assert (batch.inputs[0] == SYMBOLS.index("B")).all()
        assert (batch.targets.symbols[:-1] == batch.inputs[1:]).all()
        # What follows is possible.
        following = np.take_along_axis(
            batch.targets.possible, batch.targets.symbols[..., None], axis=-1
        )
        assert following.all()
    assert (drawn(seed=1).inputs != test.inputs).any()
    np.testing.assert_array_equal(drawn().inputs, test.inputs)


def test_an_oracle_that_remembers_reaches_the_goals():
    batch = drawn()
    found = values(np.where(batch.targets.possible, 1.0, 0.0), batch)
    assert all(goal.reached(found) for goal in (ContinualReber.solved, ContinualReber.mastered))
    assert found["symbols_to_first_error"] == 1000
    assert found["errors_per_symbol"] == 0


def test_without_memory_of_the_second_symbol_the_first_error_is_after_21_symbols():
    """An oracle of all the rest, which answers T or P by chance where the second-last is next."""
    batch = drawn()
    T, P = SYMBOLS.index("T"), SYMBOLS.index("P")
    possible = batch.targets.possible
    alone = possible.sum(axis=-1) == 1
    second_last = alone & (possible[..., T] | possible[..., P])
    guess = np.where(np.random.default_rng(0).random(second_last.shape) < 0.5, T, P)
    outputs = np.where(second_last[..., None], np.eye(7)[guess], possible)
    found = values(outputs, batch)
    (baseline,) = TASK.baselines((), "test").values()
    assert baseline == pytest.approx(21, abs=1e-9)
    assert found["symbols_to_first_error"] == pytest.approx(baseline, abs=4)
    assert found["errors_per_symbol"] == pytest.approx(1 / 24, rel=0.03)
    assert not TASK.solved.reached(found)
    # Many streams of 30 symbols end before their first error.
    first = np.argmin((outputs[..., T] > 0) == possible[..., T], axis=0)
    of_short = TASK.baselines((), "train")["second symbol forgotten"]
    assert of_short == pytest.approx(np.minimum(first, 30).mean(), abs=1.5)


def test_metrics_count_what_is_right_before_the_first_error():
    right = np.array([[1, 0, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1]], bool)
    possible = np.zeros((4, 3, 7), bool)
    possible[..., 2] = True
    outputs = np.where(possible == right[..., None], 1.0, 0.0)
    batch = Batch(np.zeros((4, 3), int), Next(np.full((4, 3), 2), possible))
    found = values(outputs, batch)
    assert found["symbols_to_first_error"] == pytest.approx((2 + 0 + 4) / 3)
    assert found["perfect_streams"] == pytest.approx(1 / 3)
    assert found["errors_per_symbol"] == pytest.approx(2 / 12)


def test_sigmoid_outputs_are_right_within_the_published_tolerance_of_all_that_is_possible():
    task = ContinualReber(activation="sigmoid")
    possible = np.zeros((4, 1, 7), bool)
    possible[..., 2:4] = True
    chance = np.where(possible, 1.0, 0.0)
    chance[0, 0, 2], chance[1, 0, 2], chance[2, 0, 5], chance[3, 0, 5] = 0.52, 0.5, 0.48, 0.5
    outputs = np.log(np.clip(chance, 1e-6, 1 - 1e-6)) - np.log1p(-np.clip(chance, 1e-6, 1 - 1e-6))
    batch = Batch(np.zeros((4, 1), int), Next(np.full((4, 1), 2), possible))
    found = values(outputs, batch, task)
    assert found["errors_per_symbol"] == 0.5
    squared = np.square([0.48, 0.5, 0.48, 0.5]).mean()
    assert found["squared_error"] == pytest.approx(squared, rel=1e-4)
    # Both possible symbols are highest at every step: that is the criterion of a softmax.
    assert values(outputs, batch)["errors_per_symbol"] == 0


def test_a_held_out_stream_is_not_shorter_than_the_goal():
    with pytest.raises(ValidationError, match="greater than or equal to 1000"):
        ContinualReber(eval_length=999)
    assert ContinualReber.solved.threshold == 1000


def test_the_units_that_keep_the_second_symbol_come_first():
    """A state made by hand, of which one unit is 1 in strings with T, until they end."""
    batch = jax.tree.map(lambda leaf: leaf[:, 0], drawn())
    text = "".join(SYMBOLS[k] for k in batch.inputs)
    kept, second = np.zeros(1000), 0.0
    for t, symbol in enumerate(text):
        if t == 1 or (t > 3 and text[t - 1] == "B" and text[t - 2] == "E"):
            second = float(symbol == "T")
        kept[t] = second
    noise = np.random.default_rng(0).normal(size=(1000, 6))
    only_now = np.where(batch.targets.symbols == SYMBOLS.index("T"), 1.0, 0.0)
    memory = np.column_stack([noise, only_now, kept])
    assert keeping(Stream(batch, np.zeros((1000, 7)), None, memory))[0] == 7


def test_the_figure_has_a_column_for_each_network():
    models = {}
    for cell in ("lstm", "original_lstm"):
        model = make_model(model_config(cell, hidden_size=4), TASK)
        models[cell] = model, model.init(jax.random.key(0))
    figure = forgetting(TASK, models, jax.random.key(0))
    FigureCanvasAgg(figure).draw()
    titles = [axes.get_title() for axes in figure.axes]
    assert sum(title.startswith(("lstm: ", "original_lstm: ")) for title in titles) == 2
    assert sum(title.startswith("forget gate") for title in titles) == 1
    assert sum(title.startswith("no unit has a forget gate") for title in titles) == 1
