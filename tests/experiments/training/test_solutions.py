"""The configs reach the results in their headers. They train in full, so they are marked slow."""

from pathlib import Path

import pytest

from experiments.config.file import load_config
from experiments.training.training_loop import train_run

CONFIGS = Path(__file__).parents[3] / "configs"

pytestmark = pytest.mark.slow


def train_config(name, path, **overrides):
    config = load_config(CONFIGS / f"{name}.yaml", overrides)
    return train_run(config, path, f"train {name}")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_demo_is_solved_in_under_three_minutes_for_any_seed(seed, tmp_path):
    summary = train_config("demo", tmp_path, seed=seed)
    assert summary["goals"]["solved"]["reached_on_test"] == [True]
    assert summary["seconds"] < 180
    assert summary["python_share"] < 0.05


@pytest.mark.parametrize("name", ["adding", "copy"])
def test_a_task_is_solved(name, tmp_path):
    summary = train_config(name, tmp_path)
    assert summary["goals"]["solved"]["reached_on_test"] == [True]
    assert summary["python_share"] < 0.05


def test_chars_needs_fewer_bits_than_the_5_gram(tmp_path):
    summary = train_config("chars", tmp_path, **{"train.stop_when": "solved"})
    assert summary["goals"]["solved"]["reached_on_test"] == [True]
    assert summary["test"]["bits_over_fivegram"]["mean"] < 0
    assert summary["seconds"] < 600
    assert len((tmp_path / "figures" / "sample.txt").read_text()) > 1000
