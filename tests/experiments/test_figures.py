"""What the pictures hold, beyond being drawn."""

import jax
import numpy as np
import pytest

from experiments.config import Config, EvalConfig, ModelConfig
from experiments.figures import learning_curve, memory, predictions, recall
from experiments.model import make_model
from experiments.tasks import Adding, Copy

RECORDS = [
    {"update": 10, "loss": [0.3, 0.2], "grad_norm": [1, 1]},
    {
        "update": 20,
        "loss": [0.2, None],
        "grad_norm": [1, None],
        "validation": {"mse": [0.1, None], "within_0.04": [0.1, None]},
    },
]


def made(task):
    config = Config(
        task=task,
        model=ModelConfig(hidden_size=6),
        eval=EvalConfig(sequences=50, batch_size=50),
        seeds=2,
    )
    model = make_model(config.model, task)
    return config, model, model.init(jax.random.key(0))


def test_a_learning_curve_shows_every_seed_against_the_baselines():
    config, _, _ = made(Adding(length=8))
    (axes,) = learning_curve(config, RECORDS, {"always answer 1": 1 / 6}).axes
    curves = [line.get_xydata().tolist() for line in axes.lines[:4]]
    assert curves == [[[10, 0.3], [20, 0.2]], [[20, 0.1]], [[10, 0.2]], []]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["training", "held-out", "always answer 1: 0.1667", "solved: mse < 0.001"]
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "updates of 32 sequences"


def test_predictions_are_drawn_at_the_true_sums():
    config, model, params = made(Adding(length=8))
    (axes,) = predictions(config, config.task, model, params).axes
    points = np.asarray(axes.collections[-1].get_offsets())
    assert points.shape == (50, 2)
    assert points[:, 0].std() > 0.2  # sums of two uniform numbers
    assert 0 <= points[:, 0].min() < points[:, 0].max() <= 2


def test_memory_shows_one_sequence_its_cell_states_and_its_answers():
    config, model, params = made(Adding(length=8))
    figure = memory(config, config.task, model, model.cell, params, units=4)
    top, middle, bottom = figure.axes[:3]
    assert len(top.texts) == 2  # the marked values
    assert middle.images[0].get_array().shape == (4, 8)
    assert len(bottom.lines[-1].get_xdata()) == 8
    total = sum(float(text.get_text()) for text in top.texts)
    label = bottom.get_legend().get_texts()[0].get_text()
    assert float(label.split()[-1]) == pytest.approx(total, abs=0.011)


@pytest.mark.slow
def test_recall_marks_what_came_back_wrong():
    config, model, params = made(Copy(delay=3))
    figure = recall(config, config.task, model, params)
    shown, wanted, given = (axes.images[0].get_array() for axes in figure.axes[:3])
    assert shown.shape == wanted.shape == given.shape == (8, 23)
    np.testing.assert_array_equal(shown[:, :10], wanted[:, -10:])
    assert len(figure.axes[2].texts) == np.sum(np.asarray(given != wanted)) > 0
