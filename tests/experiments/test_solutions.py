"""The configs reach what their headers promise. These train in full, so they are marked slow."""

from pathlib import Path

import pytest

from experiments import run
from experiments.config_file import load_config

CONFIGS = Path(__file__).parents[2] / "configs"

pytestmark = pytest.mark.slow


def train(name, path, **overrides):
    config = load_config(CONFIGS / f"{name}.yaml", overrides)
    return run.train(config, path, f"train {name}")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_demo_is_solved_in_under_three_minutes_whatever_the_seed(seed, tmp_path):
    summary = train("demo", tmp_path, seed=seed)
    assert summary["goals"]["solved"]["reached_on_test"] == [True]
    assert summary["seconds"] < 180
    assert summary["python_share"] < 0.05


@pytest.mark.parametrize("name", ["adding", "copy"])
def test_a_task_is_solved(name, tmp_path):
    summary = train(name, tmp_path)
    assert summary["goals"]["solved"]["reached_on_test"] == [True]
    assert summary["python_share"] < 0.05


def test_characters_cost_fewer_bits_than_the_5_gram_needs(tmp_path):
    summary = train("chars", tmp_path, **{"train.stop_when": "solved"})
    assert summary["goals"]["solved"]["reached_on_test"] == [True]
    assert summary["test"]["bits_over_fivegram"]["mean"] < 0
    assert summary["seconds"] < 600
    assert len((tmp_path / "figures" / "sample.txt").read_text()) > 1000
