"""The content of the figures of the results page."""

import numpy as np
import pytest

from experiments.results.declared import Declared, Point, Published, RowGoal
from experiments.results.figures import against_length, extrapolation, learning_curves
from experiments.results.rows import arm_of, read_rows
from experiments.tasks import Adding
from tests.helpers.runs import config_of, write_run

BIAS = {"model.chrono_t_max": None, "model.forget_bias": 1.0}
OTHER = Published("Other", "A (2020)", "mse", 50, (Point(200, 300), Point(800, 900)))


@pytest.fixture
def rows(tmp_path):
    for length, at in ((200, 400), (400, 700)):
        chrono = {"model.chrono_t_max": float(length)}
        write_run(tmp_path / str(length), [at, at], task=Adding(length=length), fields=chrono)
    write_run(tmp_path / "bias", [None, None, 900], task=Adding(length=400), fields=BIAS)
    declared = {name: Declared(RowGoal(seeds=2)) for name in ("200", "400")}
    (found,) = read_rows(tmp_path, declared).values()
    return found


def labels(axes):
    return [text.get_text().replace("\n", " ") for text in axes.get_legend().get_texts()]


def test_settings_have_a_colour_and_arms_a_line(rows):
    (axes,) = learning_curves(rows).axes
    assert labels(axes)[:4] == [
        "length 200, 2 seeds", "length 400, 3 seeds", "LSTM, chrono", "LSTM, forget bias 1",
    ]  # fmt: skip
    short, long, bias = axes.lines[:3]
    assert short.get_color() != long.get_color() == bias.get_color()
    assert short.get_linestyle() == long.get_linestyle() != bias.get_linestyle()
    np.testing.assert_allclose(long.get_ydata()[[5, 6]], [0.1, 1e-4])
    assert len(axes.collections) == 2  # the bands, of the rows with a goal
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_updates_and_sequences_stand_beside_published_ones(rows):
    figure = against_length(rows, [OTHER])
    for axes, factor, published in zip(figure.axes, (1, 32), (1, 50), strict=True):
        (medians,) = [c for c in axes.containers if c.get_label() == "LSTM, chrono"]
        np.testing.assert_allclose(
            medians[0].get_xydata(), [[200, 400 * factor], [400, 700 * factor]]
        )
        (other,) = [line for line in axes.lines if line.get_label().startswith("Other")]
        assert other.get_xydata().tolist() == [[200, 300 * published], [800, 900 * published]]
        # Of the other arm one seed of three is solved: an arrow at its last update, and the seed.
        (arrow,) = [
            x for x in axes.lines if "uparrow" in str(x.get_marker()) and len(x.get_xdata())
        ]
        assert arrow.get_ydata() == [1000 * factor]
        dots = [x.get_ydata().tolist() for x in axes.lines if x.get_marker() == "."]
        assert dots == [[400 * factor] * 2, [700 * factor] * 2, [900 * factor]]
        assert axes.get_xticks().tolist() == [200, 400, 800]
    assert "half of the seeds or more are not solved by then" in labels(figure.axes[1])


def test_rows_that_were_measured_at_other_lengths_are_in_one_figure(rows):
    rows[0].at_lengths["mse"] = {200: [1e-4, 3e-4], 800: [0.2, 0.4]}
    rows[1].at_lengths["mse"] = {200: [0.1, 0.1], 800: [1e-3, 3e-3]}
    (axes,) = extrapolation(rows).axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [2e-4, 0.3])
    np.testing.assert_allclose(axes.lines[1].get_xydata(), [[200, 0.1], [800, 2e-3]])
    names = [line.get_label() for line in axes.lines]
    assert names[:2] == ["length 200, LSTM, chrono", "length 400, LSTM, chrono"]
    assert {"trained on 200 steps", "trained on 400 steps"} <= set(names)


def test_another_form_of_the_task_is_a_line_of_its_own(rows, tmp_path):
    task, chrono = Adding(length=400, min_length=50), {"model.chrono_t_max": 400.0}
    write_run(tmp_path / "mixed", [300], task=task, fields=chrono)
    (found,) = read_rows(tmp_path, {}).values()
    for axes in against_length(found, []).axes:
        names = [container.get_label() for container in axes.containers]
        assert sorted(names) == [
            "LSTM, chrono",
            "LSTM, chrono, min_length 50",
            "LSTM, forget bias 1",
        ]


@pytest.mark.parametrize(
    ("fields", "arm"),
    [
        ({}, "LSTM, chrono"),
        ({"model.chrono_t_max": 75.0}, "LSTM, chrono to 1.5 T"),
        (BIAS, "LSTM, forget bias 1"),
        ({"model.chrono_t_max": None}, "LSTM, forget bias 1"),
        ({"model.chrono_t_max": None, "model.preset": "keras"}, "LSTM, preset keras"),
        ({"model.cell": "tanh_rnn", "model.chrono_t_max": None}, "TanhRNN"),
        ({"model.cell": "gru", "model.chrono_t_max": None}, "GRU, forget bias 0"),
        ({"model.layers": 2}, "2 layers of LSTM, chrono"),
    ],
)
def test_arms_are_named_by_their_cell_and_initial_forgetting(fields, arm):
    assert arm_of(config_of({"model.chrono_t_max": 50.0} | fields)) == arm
