"""The records of a run as arrays by name, and as flat rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def columns(records: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The values of records by name.

    Args:
      records: mappings of numbers and of lists with a number, or None, for each seed.

    Returns:
      Arrays ``[R]`` or ``[R, N]`` over the records; NaN for None, and where a record has no value.

    >>> columns([{"update": 5, "loss": [0.5, 0.4]}, {"update": 10, "loss": [0.2, None]}])
    {'update': array([ 5, 10]), 'loss': array([[0.5, 0.4],
           [0.2, nan]])}
    """
    found = {}
    for name in dict.fromkeys(name for record in records for name in record):
        given = [record[name] for record in records if name in record]
        missing: Any = np.full(np.shape(given[0]), np.nan) if np.ndim(given[0]) else np.nan
        values = [record.get(name, missing) for record in records]
        whole = all(isinstance(value, int) for value in values)
        found[name] = np.array(values, int if whole else float)
    return found


def rows(records: Sequence[dict[str, Any]], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Flat rows, one for each record and seed, as data frames are made of.

    Args:
      records: mappings of numbers, of lists with a value for each seed, and of such mappings.
      seeds: the seeds.

    >>> rows([{"update": 5, "loss": [0.5], "validation": {"mse": [0.4]}}], [7])
    [{'update': 5, 'seed': 7, 'loss': 0.5, 'validation.mse': 0.4}]
    """
    return [
        {"update": record["update"], "seed": seed} | _of_seed(record, i, "")
        for record in records
        for i, seed in enumerate(seeds)
    ]


def _of_seed(record: dict[str, Any], i: int, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            found |= _of_seed(value, i, f"{prefix}{name}.")
        elif isinstance(value, list):
            found[prefix + name] = value[i]
        else:
            found[prefix + name] = value
    return found
