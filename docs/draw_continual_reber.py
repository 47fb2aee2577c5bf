"""Draws an LSTM with and without forget gates on the continual Reber grammar, side by side.

The command is ``python docs/draw_continual_reber.py RUN RUN_WITHOUT`` with the folders of two runs:

    python -m experiments train configs/continual_reber.yaml
    python -m experiments train configs/continual_reber.yaml --workdir runs/original \
        --model.cell original_lstm
"""

import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.loading import load_run
from experiments.tasks import ContinualReber
from experiments.tasks.continual_reber_figures import forgetting
from experiments.training.keys import data_key

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "continual_reber.png"


def draw(with_gates: str | Path, without: str | Path, picture: Path = PICTURE) -> None:
    """Draw the picture of `docs/experiments/tasks.md` from the folders of two runs."""
    runs = {"LSTM": load_run(with_gates), "LSTM of 1997": load_run(without)}
    task = runs["LSTM"].config.task
    assert isinstance(task, ContinualReber)
    models = {name: (run.model, run.params) for name, run in runs.items()}
    figure = forgetting(task, models, data_key("test", 0))
    figure.set_dpi(80)
    FigureCanvasAgg(figure).print_png(str(picture))


if __name__ == "__main__":
    draw(sys.argv[1], sys.argv[2])
