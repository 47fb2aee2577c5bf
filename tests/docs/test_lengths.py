"""The page on longer sequences states what was measured."""

import numpy as np

from docs.draw_lengths import PICTURE, ROOT, read_errors, table
from experiments.config.file import load_config
from tests.helpers.expected import expected_range

PAGE = ROOT / "docs" / "experiments" / "lengths.md"
CONFIGS = ROOT / "configs"


def test_the_page_has_the_table_and_the_picture():
    assert table(read_errors()) in PAGE.read_text()
    assert f"../images/{PICTURE.name}" in PAGE.read_text()
    assert PICTURE.exists()


def test_a_network_trained_on_mixed_lengths_is_far_better_at_twice_the_length():
    """Than the constant answer, and than networks trained on one length, most of which are not."""
    one, mixed = (read_errors()[config][800] for config in ("adding", "adding_lengths"))
    constant = load_config(CONFIGS / "adding.yaml").task.baselines((), "test")["always answer 1"]
    low, high = expected_range(CONFIGS / "adding_lengths.yaml", "length 800")
    assert low < min(mixed) < max(mixed) < high < constant / 10
    assert np.sum(np.array(one) > constant) == 8
    assert len(one) == 10
    assert max(mixed) < min(one)
