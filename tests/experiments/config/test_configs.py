"""All configs in configs/ are valid, and their headers state the expected results."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from experiments.commands.listing import FOLDERS, header
from experiments.commands.overrides import parse_overrides
from experiments.config.file import load_config
from experiments.run.workdir import Workdir
from tests.helpers.expected import expected_range

ROOT = Path(__file__).parents[3]
CONFIGS = sorted(path for folder in FOLDERS for path in folder.glob("*.yaml"))
RESULTS = sorted(path.parent for path in (ROOT / "docs" / "results").rglob("summary.json"))


def ids(paths):
    return [path.stem for path in paths]


def test_the_tasks_have_configs():
    assert {"adding", "copy", "chars", "demo"} <= set(ids(CONFIGS))


@pytest.mark.parametrize("path", CONFIGS, ids=ids(CONFIGS))
def test_a_config_is_valid_and_its_header_states_the_expected_result(path):
    config = load_config(path)
    text = "\n".join(header(path))
    place = path.relative_to(ROOT).as_posix()
    assert re.search(rf"^Command: +python -m experiments train {place}$", text, re.M)
    assert re.search(r"^Expected: .*\d", text, re.M)
    assert re.search(r"^Time: .*\d.* two CPU cores", text, re.M)
    assert config.task.name in path.stem or path.stem == "demo"


def test_the_tasks_are_at_the_promised_lengths():
    configs = {path.stem: load_config(path) for path in CONFIGS}
    assert configs["adding"].task.length >= 200
    assert configs["copy"].task.delay >= 30
    assert configs["demo"].task.length >= 100


@pytest.mark.parametrize("path", RESULTS, ids=ids(RESULTS))
def test_a_result_belongs_to_the_current_config(path):
    """The command in the summary, with the current config file, gives the config of the run."""
    summary = json.loads((path / "summary.json").read_text())
    words = shlex.split(summary["command"])
    assert words[:4] == ["python", "-m", "experiments", "train"]
    overrides = parse_overrides(words[5:])
    overrides.pop("workdir", None)
    assert load_config(ROOT / words[4], overrides) == Workdir(path).config()


TEN_SEEDS = {"adding": "mse", "demo": "mse"}
"""Configs whose headers state ranges that hold for other seeds, and the metric among them."""


@pytest.mark.parametrize("name", TEN_SEEDS)
def test_the_stated_ranges_are_wider_than_those_of_ten_seeds(name):
    """By half of the width on each side, of logarithms for errors; and not by much more."""
    summary = json.loads((ROOT / "docs" / "results" / name / "summary.json").read_text())
    assert len(summary["seeds"]) >= 10
    metric = TEN_SEEDS[name]
    seen = {f"test {metric}": np.log(summary["test"][metric]["seeds"])}
    for goal, found in summary["goals"].items():
        seen[f"{goal} after"] = np.array(found["first_at_update"])
    for what, values in seen.items():
        low, high = expected_range(ROOT / "configs" / f"{name}.yaml", what)
        if what.startswith("test"):
            low, high = np.log([low, high])
        width = np.ptp(values)
        assert values.min() - width < low <= values.min() - width / 2, what
        assert values.max() + width / 2 <= high < values.max() + width, what
