"""Weights & Biases: scalars per seed, online or with ``WANDB_MODE=offline``; needs wandb."""

import dataclasses
import importlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from experiments.config.schema import Config
from experiments.run.atomic_write import write_atomic
from experiments.run.metrics_file import MetricsFile
from experiments.sinks.sink import scalars, scalars_of_test


class WeightsAndBiases:
    """Logs a run of the project ``lstm_jax``, or of ``WANDB_PROJECT``; a resumed run goes on in it.

    Raises:
      ImportError: if wandb is not installed.
    """

    def __init__(self) -> None:
        try:
            self._wandb: Any = importlib.import_module("wandb")
        except ImportError:
            raise ImportError("needs wandb: pip install wandb") from None

    def start(self, workdir: Path, config: Config, update: int) -> None:
        """Log the records of metrics.jsonl that have not been logged before."""
        self._config = config
        self._place = workdir / "wandb" / "lstm_jax.json"
        self._place.parent.mkdir(exist_ok=True)
        # What a training that starts anew logs is another run.
        logged = self._logged() if update else None
        self._id, self._update = logged or (secrets.token_hex(8), 0)
        self._run = self._wandb.init(
            id=self._id,
            resume="allow",
            name=workdir.name,
            dir=str(workdir),
            config=dataclasses.asdict(config),
            project=os.environ.get("WANDB_PROJECT", "lstm_jax"),
            settings=self._wandb.Settings(silent=True, console="off"),
        )
        for record in MetricsFile(workdir / "metrics.jsonl").read():
            if record["update"] <= update:
                self.write(record)

    def write(self, record: dict[str, Any]) -> None:
        """Log the scalars of a record, unless a process before has."""
        if record["update"] <= self._update:
            return
        self._update = record["update"]
        self._run.log(scalars(record, self._config), step=self._update)
        write_atomic(self._place, json.dumps({"id": self._id, "update": self._update}))

    def finish(self, summary: dict[str, Any] | None) -> None:
        """Add the test metrics to the summary of the run, and wait until all is written."""
        if summary is not None:
            self._run.summary.update(scalars_of_test(summary, self._config))
        self._run.finish(exit_code=0)

    def _logged(self) -> tuple[str, int] | None:
        """The id of the run, and the last update that was logged."""
        try:
            place = json.loads(self._place.read_text(encoding="utf-8"))
            return str(place["id"]), int(place["update"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
