"""The content of the figures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config.model import model_config
from experiments.config.schema import Config, EvalConfig
from experiments.errors import Interrupted
from experiments.model import make_model
from experiments.run.figures import draw_figures, learning_curve
from experiments.run.workdir import Workdir
from experiments.tasks import Adding, Chars, Copy
from experiments.tasks.adding_figures import memory, predictions
from experiments.tasks.copy_figures import recall
from experiments.tasks.figure_style import new_figure
from experiments.training.keys import data_key

KEY = data_key("test", 0)
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
        model=model_config(hidden_size=6),
        eval=EvalConfig(sequences=50, batch_size=50),
        seeds=2,
    )
    model = make_model(config.model, task)
    return config, model, model.init(jax.random.key(0))


def test_a_learning_curve_has_every_seed_and_the_baselines():
    config, _, _ = made(Adding(length=8))
    (axes,) = learning_curve(config, RECORDS, {"always answer 1": 1 / 6}).axes
    curves = [line.get_xydata().tolist() for line in axes.lines[:4]]
    assert curves == [[[10, 0.3], [20, 0.2]], [[20, 0.1]], [[10, 0.2]], []]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["training", "held-out", "always answer 1: 0.1667", "solved: mse < 0.001"]
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "updates of 32 sequences"
    config, _, _ = made(Chars())
    (axes,) = learning_curve(config, [], {}).axes
    assert axes.get_yscale() == "linear"


def test_predictions_are_drawn_at_the_true_sums():
    config, model, params = made(Adding(length=8))
    (axes,) = predictions(config.task, model, params, KEY, 50).axes
    points = np.asarray(axes.collections[-1].get_offsets())
    assert points.shape == (50, 2)
    assert points[:, 0].std() > 0.2  # sums of two uniform numbers
    assert 0 <= points[:, 0].min() < points[:, 0].max() <= 2


def test_memory_has_one_sequence_its_cell_states_and_its_answers():
    config, model, params = made(Adding(length=8))
    figure = memory(config.task, model, params, KEY, units=4)
    top, middle, bottom = figure.axes[:3]
    assert len(top.texts) == 2  # the marked values
    assert middle.images[0].get_array().shape == (4, 8)
    assert len(bottom.lines[-1].get_xdata()) == 8
    total = sum(float(text.get_text()) for text in top.texts)
    label = bottom.get_legend().get_texts()[0].get_text()
    assert float(label.split()[-1]) == pytest.approx(total, abs=0.011)


@pytest.mark.slow
def test_recall_marks_wrong_answers():
    config, model, params = made(Copy(delay=3))
    figure = recall(config.task, model, params, KEY)
    inputs, targets, answers = (axes.images[0].get_array() for axes in figure.axes[:3])
    assert inputs.shape == targets.shape == answers.shape == (8, 23)
    np.testing.assert_array_equal(inputs[:, :10], targets[:, -10:])
    assert len(figure.axes[2].texts) == np.sum(np.asarray(answers != targets)) > 0


def test_a_task_brings_its_own_figures_and_texts(tmp_path, monkeypatch):
    def figures(self, model, params, data, key, sequences):
        assert (data, sequences) == ((), 50)
        assert params.readout.bias.shape == (1,)  # of one seed
        return {"mine.png": new_figure(2.0, 2.0)[0], "mine.txt": "text\n"}

    monkeypatch.setattr(Adding, "figures", figures)
    config, _, params = made(Adding(length=8))
    summary = {}
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    draw_figures(config, both, (), Workdir(tmp_path), summary)
    assert summary["figures"] == [
        f"figures/{name}" for name in ("learning_curve.png", "mine.png", "mine.txt")
    ]
    assert (tmp_path / "figures" / "mine.txt").read_text() == "text\n"
    assert (tmp_path / "figures" / "mine.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_drawn_is_one_line_and_a_signal_still_stops(
    tmp_path, monkeypatch, capsys
):
    error = RuntimeError("no such font\nand more")

    def figures(self, model, params, data, key, sequences):
        raise error

    monkeypatch.setattr(Adding, "figures", figures)
    config, _, params = made(Adding(length=8))
    summary = {}
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    draw_figures(config, both, (), Workdir(tmp_path), summary)
    assert summary["figures"] == ["figures/learning_curve.png"]
    assert capsys.readouterr().err == (
        "the figures of the task cannot be drawn: RuntimeError: no such font\n"
    )
    error = Interrupted(15, "stopped")
    with pytest.raises(Interrupted, match="stopped"):
        draw_figures(config, both, (), Workdir(tmp_path), summary)
