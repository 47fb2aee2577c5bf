"""Draws the error of networks at other lengths than those of their training, and prints a table.

The command is ``python docs/draw_lengths.py``. The errors are in ``docs/results/lengths.json``: the
mean squared errors of every seed, as ``python -m experiments evaluate RUN --task.length N`` gives
them, on 500 sequences.
"""

import json
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.config.file import load_config
from experiments.tasks import Adding
from experiments.tasks.adding_figures import error_against_length

ROOT = Path(__file__).parents[1]
ERRORS = ROOT / "docs" / "results" / "lengths.json"
PICTURE = ROOT / "docs" / "images" / "adding_lengths.png"
TRAINED = {"adding": "400 steps alone", "adding_lengths": "50 to 400 steps"}
IN_TABLE = (200, 400, 800, 1600)


def read_errors() -> dict[str, dict[int, list[float]]]:
    """The errors of every network by length, for every config."""
    found = json.loads(ERRORS.read_text())
    return {
        config: {int(length): values for length, values in by_length.items()}
        for config, by_length in found.items()
    }


def table(errors: dict[str, dict[int, list[float]]]) -> str:
    """The median error, and the smallest and largest, as rows of a Markdown table."""
    lines = []
    for config, by_length in errors.items():
        cells = [
            f"{_number(np.median(values))} ({_number(min(values))} to {_number(max(values))})"
            for values in (by_length[length] for length in IN_TABLE)
        ]
        lines.append(f"| trained on {TRAINED[config]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    """Two digits, without an exponent."""
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")


def draw(errors: dict[str, dict[int, list[float]]]) -> None:
    """Draw the picture of `docs/experiments/lengths.md`."""
    task = load_config(ROOT / "configs" / "adding_lengths.yaml").task
    assert isinstance(task, Adding)
    names = {
        config: f"{TRAINED[config]}: median and range of {len(by_length[400])} networks"
        for config, by_length in errors.items()
    }
    figure = error_against_length(task, {names[config]: errors[config] for config in errors})
    FigureCanvasAgg(figure).print_png(str(PICTURE))


if __name__ == "__main__":
    draw(read_errors())
    print(table(read_errors()))
