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
from experiments.tasks import Adding, Chars, Copy, adding_figures
from experiments.tasks.adding_figures import (
    error_against_length,
    errors_at_lengths,
    memory,
    predictions,
)
from experiments.tasks.figure_style import new_figure
from experiments.tasks.recall_figures import recall
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
    curves = [line.get_xydata().tolist() for line in axes.lines[:5]]
    assert curves == [[[10, 0.3], [20, 0.2]], [[20, 0.1]], [[10, 0.2]], [], [[20, 0.1]]]
    assert labels(axes) == [
        *("seed 0", "seed 1", "mean of the seeds", "loss in training"),
        *("always answer 1: 0.1667", "solved: mse < 0.001"),
    ]
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "updates of 32 sequences"
    config, _, _ = made(Chars())
    (axes,) = learning_curve(config, [], {}).axes
    assert axes.get_yscale() == "linear"


def records(*values):
    """Records of one metric, with a list of values for each update."""
    return [
        {"update": 10 * i, "loss": row, "validation": {"mse": row}}
        for i, row in enumerate(values, 1)
    ]


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize(("evaluations", "marker"), [(1, "o"), (2, "None")])
def test_a_single_evaluation_is_a_point(evaluations, marker):
    config = Config(task=Adding(length=8))
    validation = {"mse": [0.1], "within_0.04": [0.1]}
    rows = [
        {"update": 10 * i, "loss": [0.3], "grad_norm": [1], "validation": validation}
        for i in range(1, evaluations + 1)
    ]
    (axes,) = learning_curve(config, rows, {}).axes
    (line,) = [line for line in axes.lines if line.get_label() == "seed 0"]
    assert line.get_marker() == marker


@pytest.mark.parametrize("seeds", [2, 7, 30])
def test_every_seed_has_a_colour_of_its_own(seeds):
    config = Config(task=Adding(length=8), seeds=seeds)
    (axes,) = learning_curve(config, records([0.1] * seeds), {}).axes
    colours = {line.get_color() for line in axes.lines[: 2 * seeds]}
    assert len(colours) == seeds
    named = [label for label in labels(axes) if label.startswith("seed")]
    assert named == ([f"seed {i}" for i in range(seeds)] if seeds < 9 else ["seeds 0 to 29"])


def test_the_mean_has_the_last_value_of_seeds_that_stopped_and_none_of_those_that_diverged():
    config = Config(task=Adding(length=8), seeds=3)
    rows = records([0.1, 0.3, 0.8], [0.2, 0.4, None], [None, 0.6, None])
    (axes,) = learning_curve(config, rows, {}, [None, None, {"update": 15}]).axes
    (mean,) = [line for line in axes.lines if line.get_label() == "mean of the seeds"]
    np.testing.assert_allclose(mean.get_xydata(), [[10, 0.4], [20, 0.3], [30, 0.4]])
    (cross,) = [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert cross.get_xydata().tolist() == [[10, 0.8]]
    assert "diverged" in labels(axes)


def test_the_legend_is_beside_the_curves():
    figure = learning_curve(Config(task=Adding(length=8), seeds=8), records([0.1] * 8), {"a": 0.1})
    figure.draw_without_rendering()
    (axes,) = figure.axes
    box = axes.get_legend().get_window_extent()
    assert axes.get_window_extent().x1 <= box.x0 < box.x1 <= figure.bbox.x1
    assert box.y0 >= 0


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


def test_the_error_at_another_length_is_that_of_sequences_of_this_length():
    """Sequences of all lengths are one padded batch; padding must change nothing."""
    config, model, params = made(Adding(length=8))
    lengths = [4, 8, 32]
    errors = errors_at_lengths(config.task, model, params, KEY, lengths, 20)
    (key,) = jax.random.split(KEY, 1)
    batch = Adding(length=32).sequences(key, 60, jnp.repeat(jnp.array(lengths), 20))
    assert [*errors] == lengths
    for k, (length, error) in enumerate(errors.items()):
        rows = slice(20 * k, 20 * k + 20)
        answers = model.apply(params, batch.inputs[:length, rows])[-1, :, 0]
        assert batch.inputs[:, rows, 1].sum() == batch.inputs[:length, rows, 1].sum() == 40
        assert error == pytest.approx(
            float(((answers - batch.targets[0, rows]) ** 2).mean()), rel=1e-4
        )


def test_the_figure_of_lengths_has_every_network_the_baseline_and_the_trained_lengths():
    errors = {"one": {4: 0.1, 8: 0.001}, "many": {4: [0.02, 0.01, 0.04], 8: [0.3, 0.1, 0.2]}}
    figure = error_against_length(Adding(length=8, min_length=4), errors)
    (axes,), (legend,) = figure.axes, figure.legends
    one, many, baseline = axes.lines[:3]
    np.testing.assert_allclose(one.get_xydata(), [[4, 0.1], [8, 0.001]])
    np.testing.assert_allclose(many.get_ydata(), [0.02, 0.2])
    band = axes.collections[1].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (0.01, 0.3)
    assert baseline.get_ydata()[0] == 1 / 6
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels[:2] == ["one", "many"]
    assert labels[-1] == "trained on 4 to 8 steps"
    (legend,) = error_against_length(Adding(length=8), {"one": errors["one"]}).legends
    assert legend.get_texts()[-1].get_text() == "trained on 8 steps"


def test_the_figures_of_adding_have_the_error_at_a_quarter_to_four_times_the_length(monkeypatch):
    config, model, params = made(Adding(length=8))
    drawn = {}
    monkeypatch.setattr(
        adding_figures,
        "error_against_length",
        lambda task, errors: drawn.update(errors) or new_figure(1.0, 1.0)[0],
    )
    found = adding_figures.draw_adding(config.task, model, params, KEY, 20)
    assert {"predictions.png", "memory.png", "error_against_length.png"} <= set(found)
    assert [*drawn["network"]] == [2, 4, 8, 16, 32]


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
