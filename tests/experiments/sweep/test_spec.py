"""Sweep files: what they mean, and what is refused."""

import numpy as np
import pytest

from experiments.errors import UserError
from experiments.sweep.distribution import Choices, Range, read_distribution
from experiments.sweep.spec import read_sweep

MANY = list(range(400))
CONFIG = "config: {task: {name: adding, length: 4}}\n"


def spec_of(tmp_path, text, overrides=None):
    path = tmp_path / "sweep.yaml"
    path.write_text(CONFIG + text)
    return read_sweep(path, overrides)


def test_a_grid_has_every_combination(tmp_path):
    spec = spec_of(tmp_path, "grid: {optimizer.learning_rate: [0.1, 0.2], model.cell: [gru, lstm]}")
    assert [tuple(values.values()) for values in spec.values()] == [
        (0.1, "gru"), (0.1, "lstm"), (0.2, "gru"), (0.2, "lstm"),
    ]  # fmt: skip


def test_parts_are_multiplied(tmp_path):
    text = (
        "list: [{seed: 1}, {seed: 2}]\n"
        "grid: {optimizer: {learning_rate: [0.1, 0.2]}}\n"
        "random: {points: 3, fields: {model.hidden_size: {low: 1, high: 8}}}"
    )
    values = spec_of(tmp_path, text).values()
    assert len(values) == 2 * 2 * 3
    assert list(values[0]) == ["seed", "optimizer.learning_rate", "model.hidden_size"]


def test_more_random_points_begin_with_the_same_ones(tmp_path):
    text = (
        "random: {points: %d, seed: 3, fields: {optimizer.b1: {low: 0.5, high: 0.9}, %s"
        "model.hidden_size: {choices: [1, 2, 4]}}}"
    )
    few = spec_of(tmp_path, text % (3, "")).values()
    more = spec_of(tmp_path, text % (6, "optimizer.b2: {low: 0.5, high: 0.9},")).values()
    assert [{n: v for n, v in point.items() if n != "optimizer.b2"} for point in more][:3] == few
    assert len({point["optimizer.b1"] for point in more}) == 6


@pytest.mark.parametrize(
    ("distribution", "low", "high"),
    [
        (Range(1e-4, 1e-1, log=True), 1e-4, 1e-1),
        (Range(1, 4), 1, 4),
        (Range(8, 64, step=8), 8, 64),
        (Range(0.0, 1.0, step=0.25), 0.0, 1.0),
        (Range(1, 100, log=True), 1, 100),
    ],
)
def test_numbers_are_drawn_from_the_whole_range(distribution, low, high):
    rng = np.random.default_rng(0)
    drawn = [distribution.draw(rng) for _ in range(2000)]
    assert min(drawn) >= low
    assert max(drawn) <= high
    assert all(isinstance(x, int) == isinstance(distribution.low, int) for x in drawn)
    if distribution.step:
        expected = set(np.arange(low, high + distribution.step, distribution.step).tolist())
        assert set(drawn) == expected
    if distribution.log:
        # An integer stands for the numbers that are rounded to it.
        half = 0.5 if distribution.is_integer else 0.0
        median = np.sqrt((low - half) * (high + half))
        assert np.median(drawn) == pytest.approx(median, rel=0.2)
    elif not distribution.step:
        assert set(drawn) == {1, 2, 3, 4}


def test_choices_are_of_any_type():
    drawn = {Choices((None, "gru", 2)).draw(np.random.default_rng(i)) for i in range(30)}
    assert drawn == {None, "gru", 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no points"),
        ("gird: {seed: [1]}", "gird: unknown.*did you mean grid"),
        ("grid: {seed: 1}", "grid.seed: must be a list"),
        ("grid: {seed: []}", "grid.seed: must be a list"),
        ("list: {seed: 1}", "list: must be a list of mappings"),
        ("list: [3]", "list: must be a list of mappings"),
        ("grid: {seed: [1]}\nset: {seed: 2}", "grid.seed: seed is in set already"),
        ("grid: {task: [1], task.length: [2]}", None),
        ("random: {points: 2}", "random.fields: must be a mapping"),
        ("random: {fields: {seed: {low: 1, high: 2}}}", "random.points: must be an integer"),
        ("random: {points: 2, feilds: {}}", "feilds: unknown.*did you mean fields"),
        (f"grid: {{seed: {MANY}, seeds: {MANY}}}", "maximum is 100,000"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    if message is None:
        spec_of(tmp_path, text)
        return
    with pytest.raises(UserError, match=message):
        spec_of(tmp_path, text)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "must be"),
        ({"low": 1}, "high: must be a number"),
        ({"low": 2, "high": 1}, "low must not be greater"),
        ({"low": 0, "high": 1, "log": True}, "must be positive"),
        ({"low": 1, "high": 2, "log": 1}, "must be true or false"),
        ({"low": 1, "high": 2, "stpe": 1}, "did you mean step"),
        ({"low": 1, "high": 2, "step": 0}, "step: must be positive"),
        ({"low": 1, "high": float("nan")}, "high: must be a number"),
        ({"choices": 3}, "must be a list"),
    ],
)
def test_a_wrong_distribution_is_refused(value, message):
    with pytest.raises(UserError, match=message):
        read_distribution(value, "random.fields.seed")


def test_a_config_is_found_beside_the_file(tmp_path):
    (tmp_path / "base.yaml").write_text("task: {name: adding}\n")
    path = tmp_path / "sweep.yaml"
    path.write_text("config: base.yaml\ngrid: {seed: [1]}\n")
    assert read_sweep(path).base.tree == {"task": {"name": "adding"}}
    path.write_text("config: bsae.yaml\ngrid: {seed: [1]}\n")
    with pytest.raises(UserError, match=r"no such file.*base.yaml"):
        read_sweep(path)
    path.write_text("grid: {seed: [1]}\n")
    with pytest.raises(UserError, match="config: must be the path"):
        read_sweep(path)
