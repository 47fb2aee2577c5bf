"""Search files: what they mean, and what is refused."""

import pytest

from experiments.errors import UserError
from experiments.search.spec import read_search
from experiments.sweep.distribution import Choices, Range

FILE = """
config: {task: {name: %s}}
search:
  optimizer.learning_rate: {low: 1.0e-4, high: 0.1, log: true}
  model: {cell: {choices: [lstm, gru]}}
"""


def read(tmp_path, text="", task="adding"):
    path = tmp_path / "search.yaml"
    path.write_text(FILE % task + text)
    return read_search(path)


def test_a_file_says_what_is_drawn_and_the_task_what_is_good(tmp_path):
    spec = read(tmp_path)
    assert spec.fields == {
        "optimizer.learning_rate": Range(1e-4, 0.1, log=True),
        "model.cell": Choices(("lstm", "gru")),
    }
    assert (spec.metric, spec.direction, spec.trials, spec.pruner) == (
        "mse", "minimize", 20, "median",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "direction"), [("recall_accuracy", "maximize"), ("cross_entropy", "minimize")]
)
def test_the_direction_is_that_of_the_goal(tmp_path, metric, direction):
    assert read(tmp_path, f"metric: {metric}", "copy").direction == direction
    assert read(tmp_path, f"metric: {metric}\ndirection: maximize", "copy").direction == "maximize"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trails: 3", "trails: unknown.*did you mean trials"),
        ("trials: 0", "trials: must be an integer from 1"),
        ("pruner: medina", "pruner: must be one of.*did you mean median"),
        ("sampler: 3", "sampler: must be one of"),
        ("direction: up", "direction: must be one of minimize, maximize"),
        ("metric: 3", "metric: must be the name"),
        ("set: {optimizer.learning_rate: 0.1}", "is set already"),
        ("set: {optimizer.learning_rat: 0.1}", "did you mean optimizer.learning_rate"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)


def test_the_ends_of_all_ranges_are_checked_before_anything_starts(tmp_path):
    path = tmp_path / "search.yaml"
    path.write_text(FILE % "adding" + "  model.hidden_size: {low: 0, high: 4}")
    with pytest.raises(UserError, match=r"model.hidden_size: must be(.|\n)*in the point"):
        read_search(path)


def test_a_search_is_known_by_its_content(tmp_path):
    one = read(tmp_path).identity()
    assert one == read(tmp_path, "trials: 7\nseed: 3\npruner: none").identity()
    assert one != read(tmp_path, "set: {train.updates: 5}").identity()
