"""The content of the figures of a report."""

import numpy as np
import pytest

from experiments.report.arms import make_sections
from experiments.report.axes import field_axes
from experiments.report.curves import mean_curve
from experiments.report.figures import (
    MOST_ARMS,
    against_field,
    draw_report,
    learning_curves,
    survival,
)
from experiments.report.runs import find_runs, read_run
from experiments.report.statistics import mean
from experiments.run.curves import on_common_updates
from experiments.tasks import Adding
from tests.helpers.runs import write_run


def section_of(folder):
    (section,) = make_sections([read_run(path) for path in find_runs([folder])])
    return section


@pytest.fixture
def rates(tmp_path):
    write_run(tmp_path / "slow", [900, None, None], learning_rate=1e-3, diverged=[None, None, 600])
    write_run(tmp_path / "fast", [300, 400, 500], learning_rate=0.1)
    return section_of(tmp_path)


def labels(axes):
    return [text.get_text().replace("\n", " ") for text in axes.get_legend().get_texts()]


def line(axes, label):
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return found


def test_learning_curves_have_a_mean_a_band_and_a_line_for_every_seed(rates):
    (axes,) = learning_curves(rates).axes
    assert labels(axes) == [
        "learning_rate 0.001",
        "learning_rate 0.1",
        "diverged",
        "always answer 1: 0.1667",
        "one operand known: 0.08333",
        "solved: mse < 0.001",
    ]
    fast = line(axes, "learning_rate 0.1")
    assert fast.get_xdata().tolist() == list(range(100, 1001, 100))
    np.testing.assert_allclose(
        fast.get_ydata()[2:5], [(2 * 0.1 + 1e-4) / 3, (0.1 + 2e-4) / 3, 1e-4]
    )
    assert len(axes.collections) == 2  # the bands
    (cross,) = [x for x in axes.lines if x.get_marker() == "x" and len(x.get_xdata())]
    assert cross.get_xydata().tolist() == [[500, 0.1]]
    seeds = [found for found in axes.lines if found.get_alpha() == 0.3]
    assert len(seeds) == 6
    assert axes.get_yscale() == "log"
    assert axes.get_title() == "adding, length 50, 3 seeds each"


def test_a_seed_that_diverged_before_its_first_value_is_marked_at_the_top(tmp_path):
    write_run(tmp_path / "a", [300, None], diverged=[None, 20])
    (axes,) = learning_curves(section_of(tmp_path)).axes
    (cross,) = [x for x in axes.lines if x.get_marker() == "x" and len(x.get_xdata())]
    assert cross.get_xydata().tolist() == [[20, 1]]
    assert cross.get_transform() == axes.get_xaxis_transform()


def test_arms_differ_in_colour_and_in_line(tmp_path):
    for i in range(9):
        write_run(tmp_path / str(i), [300], learning_rate=0.1 + i)
    (axes,) = learning_curves(section_of(tmp_path)).axes
    arms = [found for found in axes.lines if found.get_label().startswith("learning_rate")]
    styles = {(found.get_color(), found.get_linestyle()) for found in arms}
    assert len(arms) == len(styles) == 9


def test_of_many_arms_the_best_have_lines_of_their_own(tmp_path):
    for i in range(MOST_ARMS + 3):
        run = {"learning_rate": 0.1 + i, "test": [1.0 + i], "updates": 300}
        write_run(tmp_path / str(i), [300], **run)
    section = section_of(tmp_path)
    for figure in (learning_curves(section), survival(section)):
        found = labels(figure.axes[0])
        named = [label for label in found if label.startswith("learning_rate")]
        assert named == [f"learning_rate {0.1 + i:.4g}" for i in range(MOST_ARMS)]
        assert any(label.startswith("3 other arms") for label in found)


@pytest.mark.parametrize("arms", [2, 30])
def test_the_legend_is_beside_the_axes_and_fits_the_figure(tmp_path, arms):
    for i in range(arms):
        fields = {"model.chrono_t_max": 10 + i}
        write_run(tmp_path / str(i), [300], updates=300, learning_rate=0.1 + i, fields=fields)
    figure = learning_curves(section_of(tmp_path))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    box = axes.get_legend().get_window_extent()
    assert box.x0 >= axes.get_window_extent().x1
    assert box.x1 <= figure.bbox.x1
    assert box.y0 >= figure.bbox.y0


def test_survival_has_the_steps_of_the_share_that_is_solved(rates):
    (axes,) = survival(rates).axes
    fast = line(axes, "learning_rate 0.1")
    assert fast.get_drawstyle() == "steps-post"
    np.testing.assert_allclose(
        fast.get_xydata(), [[0, 0], [300, 1 / 3], [400, 2 / 3], [500, 1], [1000, 1]], atol=1e-12
    )
    slow = line(axes, "learning_rate 0.001")
    np.testing.assert_allclose(slow.get_xydata(), [[0, 0], [900, 1 / 3], [1000, 1 / 3]], atol=1e-12)
    marks = [found.get_xydata().tolist() for found in axes.lines if found.get_marker() == "|"]
    np.testing.assert_allclose(marks[0], [[1000, 1 / 3]] * 2)
    assert labels(axes)[-1] == "ends unsolved"


def test_error_against_length(tmp_path):
    tests = {50: [1e-4, 3e-4], 100: [1e-3, 2e-3], 400: [0.1, 0.2]}
    for length, test in tests.items():
        write_run(tmp_path / str(length), [300, 400], test=test, task=Adding(length=length))
    section = section_of(tmp_path)
    (axis,) = field_axes(section)
    (axes,) = against_field(section, axis).axes
    assert axes.get_title() == "adding: mse against length"
    (bars,) = axes.containers
    means, _, (intervals,) = bars.lines
    expected = {length: mean(test) for length, test in tests.items()}
    np.testing.assert_allclose(means.get_xydata(), [[n, e.value] for n, e in expected.items()])
    for segment, (n, estimate) in zip(intervals.get_segments(), expected.items(), strict=True):
        np.testing.assert_allclose(segment, [[n, estimate.low], [n, estimate.high]])
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["50", "100", "400"]
    np.testing.assert_allclose(line(axes, "always answer 1").get_ydata(), [1 / 6] * 3)


def test_arms_that_differ_in_two_numbers_are_lines(tmp_path):
    for length in (50, 100):
        for rate in (0.1, 0.01, 0.001):
            path = tmp_path / f"{length}-{rate}"
            write_run(path, [300, 400], learning_rate=rate, task=Adding(length=length))
    section = section_of(tmp_path)
    by_length, by_rate = field_axes(section)
    assert by_length.field == "task.length"
    assert [label for label, _ in by_length.lines] == [
        f"learning_rate {rate}" for rate in (0.001, 0.01, 0.1)
    ]
    assert [(label, len(arms)) for label, arms in by_rate.lines] == [
        ("length 50", 3),
        ("length 100", 3),
    ]
    (axes,) = against_field(section, by_rate).axes
    assert labels(axes)[-2:] == ["length 50", "length 100"]
    assert [bars.get_label() for bars in axes.containers] == ["length 50", "length 100"]


def test_a_number_that_changes_with_another_makes_no_line_of_its_own(tmp_path):
    for length in (50, 100):
        fields = {"model.chrono_t_max": length}
        write_run(tmp_path / str(length), [300], task=Adding(length=length), fields=fields)
    axes = field_axes(section_of(tmp_path))
    assert [axis.field for axis in axes] == ["task.length", "model.chrono_t_max"]
    assert [[label for label, _ in axis.lines] for axis in axes] == [[""], [""]]


def test_random_points_are_a_cloud(tmp_path):
    """Every learning rate is there once, but the sizes do not rise or fall with them."""
    for i in range(14):
        fields = {"model.hidden_size": 4 + i * 5 % 14}
        write_run(tmp_path / str(i), [300], learning_rate=0.1 + i, updates=300, fields=fields)
    by_size, by_rate = field_axes(section_of(tmp_path))
    for axis in (by_size, by_rate):
        ((label, arms),) = axis.lines
        assert (label, len(arms), axis.connected) == ("", 14, False)
    (axes,) = against_field(section_of(tmp_path), by_rate).axes
    (points,) = axes.containers
    assert points.lines[0].get_linestyle() == "None"


def test_what_diverged_is_marked_above_its_value(tmp_path):
    write_run(tmp_path / "a", [300, 300], learning_rate=0.1)
    write_run(tmp_path / "b", [None, None], learning_rate=100.0, diverged=[200, 300])
    section = section_of(tmp_path)
    (axis,) = field_axes(section)
    (axes,) = against_field(section, axis).axes
    assert line(axes, "some diverged").get_xydata().tolist() == [[100.0, 1.0]]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "100"]


def test_words_are_no_axis(tmp_path):
    for goal in ("solved", "never"):
        write_run(tmp_path / goal, [300], fields={"train.stop_when": goal})
    assert field_axes(section_of(tmp_path)) == []


def test_files_are_named_by_what_they_show(tmp_path, rates):
    out = tmp_path / "out"
    out.mkdir()
    paths = draw_report(rates, out, prefix="adding_")
    assert [path.name for path in paths] == [
        "adding_learning_curves.png",
        "adding_survival.png",
        "adding_mse_against_optimizer.learning_rate.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_runs_without_any_result_are_drawn(tmp_path):
    write_run(tmp_path / "a", [None], finished=False, until=100)
    assert len(draw_report(section_of(tmp_path), tmp_path)) == 2


def test_a_curve_keeps_its_value_where_a_seed_stopped_and_ends_where_it_diverged():
    ended = np.array([100.0, 200.0]), np.array([0.3, 0.2])
    longer = np.array([100.0, 200.0, 300.0]), np.array([0.5, 0.4, 0.1])
    updates, values = on_common_updates([ended, longer], [True, True])
    assert updates.tolist() == [100, 200, 300]
    assert values.tolist() == [[0.3, 0.2, 0.2], [0.5, 0.4, 0.1]]
    _, values = on_common_updates([ended, longer], [False, True])
    np.testing.assert_array_equal(values[0], [0.3, 0.2, np.nan])
    sparse = np.array([250.0]), np.array([0.7])
    updates, values = on_common_updates([longer, sparse], [True, True])
    assert updates.tolist() == [100, 200, 250, 300]
    np.testing.assert_array_equal(values, [[0.5, 0.4, 0.4, 0.1], [np.nan, np.nan, 0.7, 0.7]])


def test_the_mean_of_a_curve_leaves_out_what_diverged(tmp_path):
    run = read_run(write_run(tmp_path / "a", [300, None, 300], diverged=[None, 500, None]))
    curve = mean_curve(run.seeds, "mse")
    np.testing.assert_allclose(curve.mean[[2, 3, 4]], [(0.1 + 2e-4) / 3] * 2 + [1e-4])
    assert curve.low[2] < curve.mean[2] < curve.high[2]
    nothing = mean_curve(run.seeds, "accuracy")
    assert nothing.updates.shape == nothing.mean.shape == (0,)
