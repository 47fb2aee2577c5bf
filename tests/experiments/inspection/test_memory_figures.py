"""Figures of what a model remembers: other lengths, timescales, gradients and operands."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from experiments import load_run, loading
from experiments.config.layer import layer
from experiments.config.model import model_config
from experiments.inspection import at_once
from experiments.inspection.gradient_lag import draw_gradient_lag, gradient_against_lag
from experiments.inspection.operands import OperandCurves, draw_operands, follow_operands
from experiments.inspection.other_lengths import draw_other_lengths, metrics_at_lengths
from experiments.inspection.timescales import draw_timescales, initial_share, timescales
from experiments.tasks import Adding, Copy
from experiments.tasks.hs1997 import Lag1997
from experiments.training.train_step import make_train_functions
from tests.helpers.saved_runs import CONFIG, save_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two seeds whose parameters are random numbers."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    save_run(folder)
    return load_run(folder)


def labels(legend):
    return [text.get_text().replace("\n", " ") for text in legend.get_texts()]


def test_the_initial_parameters_are_those_of_the_training(run):
    first = make_train_functions(run.config).init().params
    for k, seed in enumerate(run.seeds):
        expected = jax.tree.map(lambda leaf, k=k: leaf[k], first)
        jax.tree.map(np.testing.assert_array_equal, run.of_seed(seed).initial_params, expected)


def test_metrics_at_other_lengths_are_those_of_an_evaluation(run, monkeypatch):
    found = metrics_at_lengths(run, [6, 20], sequences=12)
    assert {metric: [*values] for metric, values in found.items()} == {
        "mse": [6, 20], "within_0.04": [6, 20],
    }  # fmt: skip
    expected = run.evaluate(length=20, sequences=12)
    np.testing.assert_allclose(found["mse"][20], expected["mse"], rtol=1e-6)
    # Few steps at once change the parts, and nothing else.
    monkeypatch.setattr(at_once, "STEPS_AT_ONCE", 160)
    parts = []
    monkeypatch.setattr(
        loading, "make_train_functions",
        lambda config: parts.append(config.eval.batch_size) or make_train_functions(config),
    )  # fmt: skip
    again = metrics_at_lengths(run, [20], sequences=12)
    assert parts == [4]
    np.testing.assert_allclose(again["mse"][20], found["mse"][20], rtol=1e-5)


def test_sequences_have_the_length_also_where_held_out_ones_are_drawn(tmp_path):
    task = Copy(delay=5, min_delay=2, held_out="drawn")
    config = dataclasses.replace(CONFIG, task=task)
    save_run(tmp_path, config)
    copy = load_run(tmp_path)
    found = metrics_at_lengths(copy, [1, 9], sequences=12)["cross_entropy"]
    for delay in (1, 9):  # also shorter than any of the training
        alone = {"min_delay": None, "held_out": "longest"}
        expected = copy.evaluate(delay=delay, sequences=12, **alone)
        np.testing.assert_allclose(found[delay], expected["cross_entropy"], rtol=1e-6)


def test_a_length_that_does_not_fit_is_named(run, tmp_path):
    with pytest.raises(ValueError, match="length: must be at least 2; got 1"):
        metrics_at_lengths(run, [1])
    save_run(tmp_path, dataclasses.replace(CONFIG, task=Lag1997(experiment="2a", p=5)))
    with pytest.raises(ValueError, match="does not fit a task with p=4"):
        metrics_at_lengths(load_run(tmp_path), [4])


def test_the_figure_of_lengths_has_a_colour_for_more_networks_than_there_are():
    measured = {f"network {i}": {5: [0.1], 10: [0.2]} for i in range(9)}
    trained = {name: (i + 1, i + 2) for i, name in enumerate(measured)}
    (axes,) = draw_other_lengths(Adding(length=10), measured, trained=trained).axes
    labels = [line.get_label() for line in axes.lines]
    assert {*measured} < set(labels)
    assert sum(label.startswith("trained on") for label in labels) == 9


def test_the_figure_of_lengths_has_a_baseline_at_each_length_and_every_trained_range():
    measured = {"one": {10: [0.3], 40: [0.2]}, "mixed": {10: [0.1, 0.2, 0.4], 40: [0.3]}}
    trained = {"one": (10, 10), "mixed": (5, 20)}
    figure = draw_other_lengths(Copy(delay=10), measured, "cross_entropy", trained)
    (axes,), (legend,) = figure.axes, figure.legends
    one, mixed, baseline, of_one, of_mixed = axes.lines
    np.testing.assert_allclose(one.get_xydata(), [[10, 0.3], [40, 0.2]])
    np.testing.assert_allclose(mixed.get_ydata(), [0.2, 0.3])
    np.testing.assert_allclose(baseline.get_ydata(), 10 * np.log(8) / np.array([30, 60]))
    assert labels(legend) == [
        "one", "mixed", "memoryless", "trained on 10 steps", "trained on 5 to 20 steps",
    ]  # fmt: skip
    assert (of_one.get_color(), of_mixed.get_color()) == (one.get_color(), mixed.get_color())
    np.testing.assert_allclose(of_mixed.get_xdata(), [5, 20], rtol=0.05)
    assert axes.get_xlabel() == "delay of a sequence, in steps"
    assert axes.get_title().endswith("\nmedian of the seeds, and from the best to the worst")
    # The bars are below the bands.
    bottom = min(path.vertices[:, 1].min() for c in axes.collections for path in c.get_paths())
    assert axes.transAxes.inverted().transform(axes.transData.transform((10, bottom)))[1] > 0.06
    (axes,) = draw_other_lengths(Copy(delay=10), measured, "recall_accuracy").axes
    assert [line.get_label() for line in axes.lines] == [
        "one",
        "mixed",
        "solved: recall_accuracy >= 0.99",
    ]
    assert axes.get_yscale() == "linear"


def test_timescales_are_those_of_the_equations(run):
    params, batch = run.params, run.task.sample((), "test", run.key("test"), 3)
    kernel, recurrent, bias = map(np.asarray, params.cell)
    h = c = np.zeros((3, 3))
    logs = []
    for x in np.asarray(batch.inputs):
        z = x @ kernel + h @ recurrent + bias
        i, f, o = (1 / (1 + np.exp(-z[:, k : k + 3])) for k in (0, 3, 9))
        c = f * c + i * np.tanh(z[:, 6:9])
        h = o * np.tanh(c)
        logs.append(np.log(f))
    (found,) = timescales(run, sequences=3).values()
    np.testing.assert_allclose(found, 1 / (1 - np.exp(np.mean(logs, axis=(0, 1)))), rtol=1e-4)


def test_padding_has_no_part_in_timescales():
    from experiments.inspection.timescales import _timescale

    f = jnp.full((4, 2, 1), 0.9).at[2:, 1].set(0.5)
    whole, ragged = (float(_timescale(f, lengths)[0]) for lengths in (None, jnp.array([4, 2])))
    assert ragged == pytest.approx(10, rel=1e-4)
    assert whole < 8


def test_the_share_of_units_by_the_first_biases_is_that_of_drawn_ones():
    drawn = lj.initializers.Chrono(50.0)(jax.random.key(0), (4 * 4000,)).reshape(4, -1)[1]
    tau, x = 1 / (1 - jax.nn.sigmoid(drawn)), np.array([2.0, 10.0, 26.0, 40.0, 60.0])
    shares = (np.asarray(tau)[:, None] <= x).mean(axis=0)
    np.testing.assert_allclose(initial_share(layer("lstm", chrono_t_max=50), x), shares, atol=0.02)
    x = np.array([3.7, 3.72])  # 1 + e
    assert initial_share(layer("lstm"), x).tolist() == [0, 1]
    assert initial_share(layer("lstm", forget_bias=0.0), np.array([1.9, 2.0])).tolist() == [0, 1]
    assert np.isnan(initial_share(layer("lstm", preset="keras"), x)).all()
    assert np.isnan(initial_share(layer("tanh_rnn"), x)).all()


def test_the_figure_of_timescales_has_units_before_and_after(run):
    figure = draw_timescales(run, sequences=4)
    shares, units = figure.axes
    assert labels(shares.get_legend()) == [
        "initial biases alone", "before training", "after", "6 steps",
    ]  # fmt: skip
    points = np.asarray(units.collections[0].get_offsets())
    (before,) = timescales(run, run.initial_params, 4).values()
    (after,) = timescales(run, None, 4).values()
    np.testing.assert_allclose(points, np.stack([before, after], axis=1), rtol=1e-6)
    assert not np.allclose(before, after)


def test_the_gradient_at_a_lag_is_that_of_the_state_so_many_steps_ago(run):
    batch = run.task.sample((), "test", run.key("test"), 5)
    found = gradient_against_lag(run, sequences=5)
    assert {name: values.shape for name, values in found.items()} == {
        "layer 1, h": (6,), "layer 1, c": (6,),
    }  # fmt: skip
    xs, params = batch.inputs, run.params
    for lag in (0, 2):
        state, _ = lj.unroll(run.model.cell, params.cell, xs[: 6 - lag])

        def loss(state, lag=lag):
            h = state.h
            if lag:
                h = lj.unroll(run.model.cell, params.cell, xs[6 - lag :], state)[0].h
            y = run.model.readout(params, h)[:, 0]
            return jnp.sum((y - batch.targets[0]) ** 2)

        grads = jax.grad(loss)(state)
        for field in ("h", "c"):
            norms = jnp.linalg.norm(getattr(grads, field), axis=-1)
            expected = float(norms.mean())
            assert found[f"layer 1, {field}"][lag] == pytest.approx(expected, rel=1e-4)


def test_the_figure_of_gradients_has_each_run_before_and_after(run):
    h, c = draw_gradient_lag({"one": run}, sequences=5).axes
    assert labels(h.get_legend()) == ["one, before training", "one, after training"]
    after = gradient_against_lag(run, sequences=5)
    for axes, name, first in ((h, "layer 1, h", 0), (c, "layer 1, c", 1)):
        before_line, line = axes.lines[:2]
        # No step follows the last one, so its cell state has no gradient.
        assert line.get_xdata()[0] == first
        np.testing.assert_allclose(line.get_ydata(), after[name][first:] / after[name][first])
        assert (before_line.get_linestyle(), line.get_linestyle()) == ("--", "-")


def test_operands_are_followed_over_the_same_training():
    curves = follow_operands(CONFIG, updates=4, every=2, sequences=50)
    assert curves.updates.tolist() == [0, 2, 4]
    functions = make_train_functions(CONFIG)
    states = functions.init()
    for _ in range(2):
        states, _ = functions.train_steps((), states, jnp.ones(2, bool), 2)
    run_params = functions.evaluation_params(states)
    evaluated = dataclasses.replace(
        CONFIG, eval=dataclasses.replace(CONFIG.eval, sequences=50, batch_size=50)
    )
    mse = make_train_functions(evaluated).evaluate((), "test", run_params)["mse"]
    np.testing.assert_allclose(curves.mse[-1], mse, rtol=1e-4)
    assert curves.mse.shape == curves.first.shape == curves.second.shape == (3, 2)
    with pytest.raises(ValueError, match="follow_operands: the task must be adding; got copy"):
        follow_operands(dataclasses.replace(CONFIG, task=Copy(delay=5)), 10)
    with pytest.raises(ValueError, match="every must be from 1 to 4; got 5"):
        follow_operands(CONFIG, updates=4, every=5)


def test_correlations_are_with_the_numbers_marked_first_and_second():
    from experiments.inspection.operands import _correlation, operands_of

    batch = Adding(length=9).sample((), "test", jax.random.key(3), 40)
    values, marks = np.moveaxis(np.asarray(batch.inputs), -1, 0)
    first, second = map(np.asarray, operands_of(batch))
    for b in range(40):
        i, j = np.flatnonzero(marks[:, b])
        assert (first[b], second[b]) == (values[i, b], values[j, b])
    answers = 0.7 * first - 0.2 * second
    for operand in (first, second):
        expected = np.corrcoef(answers, operand)[0, 1]
        assert float(_correlation(answers, operand)) == pytest.approx(expected, abs=1e-5)
    assert float(_correlation(jnp.ones(40), jnp.asarray(first))) == 0


def test_the_figure_of_operands_has_both_plateaus_and_a_line_for_each_seed():
    updates = np.arange(3)
    curves = OperandCurves(updates, *(np.full((3, 2), v) for v in (1 / 12, 1.0, 0.0)))
    top, bottom = draw_operands(curves, "adding", first_seed=4).axes
    assert labels(top.get_legend()) == [
        "seed 4", "seed 5", "always answer 1: 0.1667", "one operand known: 0.08333",
        "solved: mse < 0.001",
    ]  # fmt: skip
    assert [line.get_ydata()[0] for line in bottom.lines[:4]] == [1, 0, 1, 0]
    assert labels(bottom.get_legend())[-1] == "of the sum itself: 0.707"


@pytest.mark.parametrize("cell", ["tanh_rnn", "slstm"])
def test_a_model_without_forget_gates_has_no_timescales(tmp_path, cell):
    config = dataclasses.replace(CONFIG, model=model_config(cell, hidden_size=3))
    save_run(tmp_path, config)
    rnn = load_run(tmp_path)
    with pytest.raises(ValueError, match="timescales: no layer of the model has a forget gate f"):
        draw_timescales(rnn)
    fields = [name[-1] for name in gradient_against_lag(rnn, sequences=2)]
    assert fields == (["h"] if cell == "tanh_rnn" else ["h", "c"])
