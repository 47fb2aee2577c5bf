"""The picture of an LSTM with and without forget gates is drawn from the folders of two runs."""

import dataclasses

import pytest
from matplotlib import image

from docs.draw_continual_reber import PICTURE, draw
from experiments.config.model import model_config
from experiments.tasks import ContinualReber
from tests.helpers.saved_runs import CONFIG, save_run


@pytest.mark.slow
def test_two_runs_are_drawn_side_by_side(tmp_path):
    for name in ("lstm", "original_lstm"):
        config = dataclasses.replace(
            CONFIG,
            task=ContinualReber(length=20, eval_length=1000),
            model=model_config(name, hidden_size=3),
        )
        save_run(tmp_path / name, config)
    draw(tmp_path / "lstm", tmp_path / "original_lstm", tmp_path / "drawn.png")
    drawn, kept = image.imread(tmp_path / "drawn.png"), image.imread(PICTURE)
    assert drawn.shape == kept.shape
    # Neither half of it is empty.
    middle = drawn.shape[1] // 2
    assert drawn[:, :middle].std() > 0.05
    assert drawn[:, middle:].std() > 0.05
