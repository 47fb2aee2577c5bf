"""Copies of finished runs that are small enough to commit: what the results page reads of them."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.errors import UserError
from experiments.report.runs import read_run
from experiments.results.lengths_file import LENGTHS_FILE
from experiments.run.atomic_write import write_atomic
from experiments.run.workdir import Workdir

MOST_EVALUATIONS = 200
DIGITS = 5
FILES = ("config.yaml", "summary.json", "environment.json", LENGTHS_FILE)


def keep_run(run: Path, folder: Path) -> list[Path]:
    """Copy a finished run without its checkpoints and pictures, with fewer records of metrics.

    Args:
      run: the workdir.
      folder: where to copy it; files of a run that are there already are replaced.

    Returns:
      The files written.

    Raises:
      UserError: if the run is damaged or not finished, or the folder cannot be written.
    """
    result = read_run(run)
    if result.summary is None:
        raise UserError(f"{run}: not finished; only a finished run can be kept")
    if folder.resolve() == run.resolve():
        raise UserError(f"--keep {folder}: is the run itself")
    records = thinned(Workdir.existing(run).metrics.read(), goals_at(result.summary.goals))
    lines = [json.dumps(record) for record in records]
    found = [name for name in FILES if (run / name).exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in found:
            shutil.copyfile(run / name, folder / name)
        if LENGTHS_FILE not in found:
            # Measured of the run that was kept there before.
            (folder / LENGTHS_FILE).unlink(missing_ok=True)
        write_atomic(folder / "metrics.jsonl", "\n".join(lines) + "\n")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
    return [folder / name for name in [*found, "metrics.jsonl"]]


def goals_at(goals: Any) -> set[int]:
    """The updates at which a seed reached a goal first."""
    return {at for goal in goals.values() for at in goal.first_at_update if at is not None}


def thinned(
    records: Sequence[dict[str, Any]], always: set[int], most: int = MOST_EVALUATIONS
) -> list[dict[str, Any]]:
    """The records that have an evaluation, at most so many of them, with fewer digits.

    Learning curves keep their shape: of a longer training the evaluations are evenly spaced in
    the logarithm of the updates for one half, and in the updates for the other.

    Args:
      records: the records of metrics.jsonl.
      always: updates to keep in any case, such as those at which a goal was reached.
      most: the number of further ones.

    >>> records = [{"update": u, "loss": [u / 3]} for u in (50, 100)]
    >>> records[1]["validation"] = {"mse": [0.123456789]}
    >>> thinned(records, always=set())
    [{'update': 100, 'loss': [33.333], 'validation': {'mse': [0.12346]}}]
    """
    evaluated = [record for record in records if "validation" in record]
    if len(evaluated) > most:
        count, half = len(evaluated), most // 2
        even = np.linspace(0, count - 1, half)
        early = np.geomspace(1, count, half) - 1
        kept = set(np.concatenate([even, early]).round().astype(int).tolist())
        evaluated = [
            record for i, record in enumerate(evaluated) if i in kept or record["update"] in always
        ]
    return [_rounded(record) for record in evaluated]


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return float(f"{value:.{DIGITS}g}")
        case dict():
            return {name: _rounded(part) for name, part in value.items()}
        case list():
            return [_rounded(part) for part in value]
    return value
