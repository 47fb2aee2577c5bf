"""The page on longer sequences states what was measured."""

from pathlib import Path

import numpy as np
import pytest

from experiments.config.file import load_config
from experiments.results.lengths_file import LENGTHS_FILE, read_errors
from tests.helpers.expected import expected_range

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "experiments" / "lengths.md"
CONFIGS = ROOT / "configs"
TRAINED = {"adding": "400 steps alone", "adding_lengths": "50 to 400 steps"}
IN_TABLE = (200, 400, 800, 1600)


def mse(run):
    """The errors of every network by length."""
    return read_errors(ROOT / "docs" / "results" / run / LENGTHS_FILE)["mse"]


def number(value):
    """Two digits, without an exponent."""
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")


@pytest.mark.parametrize("run", TRAINED)
def test_the_page_has_the_median_error_and_its_range(run):
    cells = [
        f"{number(np.median(values))} ({number(min(values))} to {number(max(values))})"
        for values in (mse(run)[length] for length in IN_TABLE)
    ]
    assert f"| trained on {TRAINED[run]} | {' | '.join(cells)} |" in PAGE.read_text()


def test_a_network_trained_on_mixed_lengths_is_far_better_at_twice_the_length():
    """Than the constant answer, and than networks trained on one length, most of which are not."""
    one, mixed = (mse(run)[800] for run in TRAINED)
    constant = load_config(CONFIGS / "adding.yaml").task.baselines((), "test")["always answer 1"]
    low, high = expected_range(CONFIGS / "adding_lengths.yaml", "length 800")
    assert low < min(mixed) < max(mixed) < high < constant / 10
    assert np.sum(np.array(one) > constant) == 8
    assert len(one) == 10
    assert max(mixed) < min(one)
