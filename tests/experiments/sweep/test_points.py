"""Points of a sweep: valid configs with readable names."""

import re

import pytest

from experiments.commands.overrides import parse_overrides
from experiments.config.file import load_config
from experiments.errors import UserError
from experiments.sweep.points import LONGEST_NAME, expand, point_name
from experiments.sweep.spec import read_sweep

BASE = "task: {name: adding, length: 4}\nmodel: {hidden_size: 2}\n"


def points_of(tmp_path, text):
    (tmp_path / "base.yaml").write_text(BASE)
    path = tmp_path / "sweep.yaml"
    path.write_text("config: base.yaml\n" + text)
    return expand(read_sweep(path))


def test_names_are_short_and_in_the_order_of_the_file(tmp_path):
    points, _ = points_of(
        tmp_path, "grid: {optimizer.learning_rate: [1e-3, 1e-2], model.clip.h: [null, 2.0]}"
    )
    assert [point.name for point in points] == [
        "learning_rate=0.001,h=none", "learning_rate=0.001,h=2.0",
        "learning_rate=0.01,h=none", "learning_rate=0.01,h=2.0",
    ]  # fmt: skip
    assert points[1].config.optimizer.learning_rate == 1e-3
    assert points[1].config.model.layers[0].clip.h == 2.0


def test_equal_configs_are_one_point(tmp_path):
    points, repeated = points_of(tmp_path, "grid: {seed: [1, 2, 1], task.length: [4, 4]}")
    assert [point.name for point in points] == ["seed=1,length=4", "seed=2,length=4"]
    assert repeated == 4


def test_names_are_safe_for_files():
    names = [
        point_name({"a": value}, {"a": "a"})
        for value in ("x/y", "..", "a b*[?]", ["p", {"q": 1}], "é", "y" * 500)
    ]
    assert all(re.fullmatch(r"[\w.,=+-]+", name, re.ASCII) for name in names)
    assert all(len(name) <= LONGEST_NAME for name in names)
    assert point_name({"": ".."}, {"": ".."}) != ".."


def test_different_points_have_different_names(tmp_path):
    text = "grid: {model.kernel_init: [orthogonal, 'Uniform(0.1)', 'Uniform[0.1]'], seed: [1]}"
    text = text.replace(", 'Uniform[0.1]'", ", 'Uniform (0.1)'")
    points, repeated = points_of(tmp_path, text)
    assert len({point.name for point in points}) == len(points) == 3
    assert repeated == 0


def test_one_bad_point_is_one_message_that_names_it(tmp_path):
    with pytest.raises(UserError) as caught:
        points_of(tmp_path, "grid: {optimizer.learning_rate: [0.1, -1.0], seed: [3]}")
    text = str(caught.value)
    assert "sweep.yaml: optimizer.learning_rate: must be" in text
    assert "in the point optimizer.learning_rate: -1.0, seed: 3" in text
    assert "\n" not in text
    with pytest.raises(UserError, match=r"did you mean model.hidden_size"):
        points_of(tmp_path, "grid: {model.hiden_size: [1]}")


def test_the_command_of_a_point_gives_its_config(tmp_path):
    points, _ = points_of(
        tmp_path,
        "set: {model.clip.h: null, model.residual: false}\ngrid: {model.cell: [gru], seed: [4]}",
    )
    words = points[0].command.split()
    assert words[:4] == ["python", "-m", "experiments", "train"]
    assert load_config(tmp_path / "base.yaml", parse_overrides(words[5:])) == points[0].config
