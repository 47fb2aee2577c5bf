"""TensorBoard: scalars per seed in ``WORKDIR/tensorboard``; needs the package tensorboardX."""

from pathlib import Path
from typing import Any

from experiments.config.file import dump_config
from experiments.config.schema import Config
from experiments.run.metrics_file import MetricsFile
from experiments.sinks.sink import scalars, scalars_of_test

FOLDER = "tensorboard"


class TensorBoard:
    """Writes event files, which ``tensorboard --logdir runs`` shows.

    Raises:
      ImportError: if tensorboardX is not installed.
    """

    def __init__(self) -> None:
        try:
            import tensorboardX
        except ImportError:
            raise ImportError("needs tensorboardX: pip install tensorboardX") from None
        self._make_writer = tensorboardX.SummaryWriter

    def start(self, workdir: Path, config: Config, update: int) -> None:
        """Write the records of metrics.jsonl, in place of what an interrupted process left."""
        folder = workdir / FOLDER
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._config, self._update = config, update
        self._writer = self._make_writer(str(folder))
        self._writer.add_text("config", "    " + dump_config(config).replace("\n", "\n    "))
        for record in MetricsFile(workdir / "metrics.jsonl").read():
            if record["update"] <= update:
                self.write(record)
        self._writer.flush()

    def write(self, record: dict[str, Any]) -> None:
        """Add the scalars of a record, at its update."""
        self._update = record["update"]
        self._add(scalars(record, self._config))

    def finish(self, summary: dict[str, Any] | None) -> None:
        """Add the test metrics, and close the files."""
        if summary is not None:
            self._add(scalars_of_test(summary, self._config))
        self._writer.close()

    def _add(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, self._update)
