"""The interface of a sink, and the scalars of a record by name."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from experiments.config.schema import Config


class Sink(Protocol):
    """A place for the records of a run; a class without arguments.

    It may be chosen by its import path. Whatever it raises turns it off, and the training goes on.
    """

    def start(self, workdir: Path, config: Config, update: int) -> None:
        """Begin, or go on after an interruption.

        Args:
          workdir: the folder of the run; its metrics.jsonl has the records up to `update`.
          config: the config of the run.
          update: updates done before. Records after it were never written to metrics.jsonl, or are
            written again with the same values.
        """
        ...

    def write(self, record: dict[str, Any]) -> None:
        """Add a record of metrics.jsonl."""
        ...

    def finish(self, summary: dict[str, Any] | None) -> None:
        """End, with the summary of the run, or None if it stops before its end."""
        ...


def scalars(record: dict[str, Any], config: Config) -> dict[str, float]:
    """The values of a record by name: the mean of each metric, and its value for every seed.

    Args:
      record: a record of metrics.jsonl.
      config: the config of the run.

    Returns:
      Values by names such as ``validation/mse/mean`` and ``loss/seed_3``; a seed that has ended has
      none, and the mean is that of the others.

    >>> from experiments.tasks import Adding
    >>> config = Config(task=Adding(), seed=3, seeds=2)
    >>> scalars({"update": 10, "loss": [0.25, None]}, config)
    {'loss/mean': 0.25, 'loss/seed_3': 0.25}
    """
    values: dict[str, float] = {}
    series = {**record, **{f"validation/{k}": v for k, v in record.get("validation", {}).items()}}
    for name, lanes in series.items():
        if not isinstance(lanes, list):
            continue
        own = {f"{name}/seed_{config.seed + i}": v for i, v in enumerate(lanes) if v is not None}
        if own:
            values |= {f"{name}/mean": float(np.mean(list(own.values()))), **own}
    return values


def scalars_of_test(summary: dict[str, Any], config: Config) -> dict[str, float]:
    """The test metrics of a summary by name, as `scalars`."""
    record = {f"test/{name}": value["seeds"] for name, value in summary["test"].items()}
    return scalars(record, config)
