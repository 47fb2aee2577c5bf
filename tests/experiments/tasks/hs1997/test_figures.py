"""The figure of a network's memory: steps that count, units that tell, output units."""

import jax
import numpy as np
import pytest

from experiments.config.model import model_config
from experiments.model import make_model
from experiments.tasks.hs1997 import (
    Adding1997,
    Lag1997,
    Multiplication1997,
    TemporalOrder1997,
    TwoSequences1997,
)
from experiments.training.keys import data_key
from tests.helpers.drawn_tasks import drawn
from tests.helpers.toys import slow_case

LSTM = model_config(hidden_size=5)


@pytest.mark.parametrize(
    ("task", "model", "names"),
    [
        pytest.param(TemporalOrder1997(), LSTM, {"memory.png"}, id="6a"),
        slow_case(Adding1997(length=20), LSTM, {"memory.png"}, id="4"),
        slow_case(TemporalOrder1997("temporal_order_1997", "6b"), LSTM, {"memory.png"}, id="6b"),
        slow_case(Multiplication1997(length=20), LSTM, {"memory.png"}, id="5"),
        slow_case(TwoSequences1997(length=20), LSTM, {"memory.png"}, id="3a"),
        slow_case(Lag1997(p=6), LSTM, {"memory.png"}, id="2a"),
        slow_case(Lag1997("lag_1997", "2c", 20, 5), LSTM, {"memory.png"}, id="2c"),
        slow_case(Adding1997(length=20), model_config("gru", hidden_size=5), {"memory.png"},
                  id="gru"),
        slow_case(Adding1997(length=20), model_config("mlstm", hidden_size=6), set(), id="mlstm"),
    ],
)  # fmt: skip
def test_the_memory_of_a_model_is_drawn(task, model, names):
    model = make_model(model, task)
    figures = task.figures(model, model.init(jax.random.key(0)), (), data_key("test", 0), 20)
    assert set(figures) == names
    for figure in figures.values():
        inputs, states, outputs, *_ = figure.axes
        figure.canvas.draw()
        batch = jax.tree.map(np.asarray, task.sample((), "test", data_key("test", 0), 256))
        most = np.asarray(task.informative(batch)).sum(axis=0).max()
        # A dotted line at every step that counts, in every panel; other lines have more points.
        for axes in (inputs, states, outputs):
            lines = [line for line in axes.lines if line.get_linestyle() == ":"]
            assert sum(len({*line.get_xdata()}) == 1 for line in lines) == most
        assert outputs.get_legend() is not None
        assert states.get_ylabel().startswith("cell state")


@pytest.mark.parametrize(
    ("task", "count"),
    [
        (Lag1997(p=6), 1),
        (Lag1997("lag_1997", "2c", 20, 5), 1),
        (TwoSequences1997(length=20), 3),
        (TemporalOrder1997(), 2),
        (TemporalOrder1997("temporal_order_1997", "6b"), 3),
    ],
    ids=["2a", "2c", "3a", "6a", "6b"],
)
def test_the_steps_that_count_are_found(task, count):
    batch = drawn(task, 200)
    found = np.asarray(task.informative(batch))
    assert (found.sum(axis=0) == count).all()
    first = np.flatnonzero(found[:, 0])
    if isinstance(task, Lag1997):
        assert first.tolist() == [1 if task.experiment == "2c" else 0]
        names = task.symbols()
        assert len(names) == task.input_size
        assert {names[k] for k in batch.inputs[found]} == {"x", "y"}
        assert task.answers()[-2:] == ("x", "y")
    if isinstance(task, TemporalOrder1997):
        order = "".join(task.symbols()[k] for k in batch.inputs[first, 0])
        assert task.answers()[batch.targets[0, 0]] == order


def test_marks_that_can_be_seen_count():
    task = Adding1997(length=20)
    batch = drawn(task, 2000)
    found = np.asarray(task.informative(batch))
    sums = np.where(found, batch.inputs[..., 0], 0).sum(axis=0)
    np.testing.assert_allclose(0.5 + sums / 4, batch.targets[0], atol=1e-6)
