"""A run's folder: its config, environment, metrics, summary and checkpoints."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.checkpoints import Checkpoints
from experiments.config import Config
from experiments.config_file import differences, dump_config, load_config
from experiments.environment import environment
from experiments.errors import UserError
from experiments.files import write_whole

try:
    import fcntl
except ImportError:
    fcntl = None


class Workdir:
    """The folder of one run.

    Args:
      path: the folder; `of` and `existing` make one that is checked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics_path = path / "metrics.jsonl"
        self.figures_path = path / "figures"
        self.checkpoints_path = path / "checkpoints"

    @classmethod
    def of(cls, path: Path, config: Config) -> "Workdir":
        """The folder for a run of this config, new or begun; nothing is written yet.

        Raises:
          UserError: when another config ran there.
        """
        workdir = cls(path)
        differing = differences(workdir.config(), config) if workdir._started() else []
        if differing:
            raise UserError(
                f"{path} holds a run with another config; it has\n  "
                + "\n  ".join(differing)
                + "\nchoose another folder with --workdir"
            )
        return workdir

    def begin(self, config: Config) -> "Workdir":
        """Make the folder, and write the config that runs there.

        Raises:
          UserError: when the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self._started():
                write_whole(self._config_path, dump_config(config))
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from None
        return self

    @classmethod
    def existing(cls, path: Path) -> "Workdir":
        """The folder of a run that has been started.

        Raises:
          UserError: when there is none.
        """
        workdir = cls(path)
        if not workdir._config_path.exists():
            raise UserError(f"{path}: not the folder of a run; it has no config.yaml")
        return workdir

    def config(self) -> Config:
        """The config that runs here."""
        return load_config(self._config_path)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints."""
        return Checkpoints(self.checkpoints_path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the folder to this process, and close what it opened there.

        Raises:
          UserError: when another process trains there.
        """
        with ExitStack() as stack:
            # Windows has no such lock; there two processes are not kept apart.
            if fcntl is not None:
                handle = os.open(self.path, os.O_RDONLY)
                stack.callback(os.close, handle)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    message = f"{self.path}: another process is training there"
                    raise UserError(message) from None
            stack.callback(lambda: "checkpoints" in self.__dict__ and self.checkpoints.close())
            yield

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a line that a crash cut short is left out."""
        if not self.metrics_path.exists():
            return []
        records = []
        for line in self.metrics_path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return records

    def rewind_metrics(self, update: int) -> None:
        """Drop what was logged after `update`, which a resumed run logs again."""
        kept = [json.dumps(r) + "\n" for r in self.metrics() if r["update"] <= update]
        write_whole(self.metrics_path, "".join(kept))

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json."""
        self._write_json("summary.json", summary)

    def summary(self) -> dict[str, Any] | None:
        """summary.json, which only a finished run has."""
        return self._read_json("summary.json")

    def write_environment(self) -> None:
        """Write environment.json; where a run goes on elsewhere, add that to it."""
        here, first = environment(), self.environment()
        if first is None:
            self._write_json("environment.json", here)
            return
        resumed = first.setdefault("resumed_in", [])
        if here not in [{k: v for k, v in first.items() if k != "resumed_in"}, *resumed]:
            resumed.append(here)
            self._write_json("environment.json", first)

    def environment(self) -> dict[str, Any] | None:
        """environment.json: where the run took place."""
        return self._read_json("environment.json")

    def _started(self) -> bool:
        """Whether there is anything of a run here but its intention."""
        begun = self.metrics_path.exists() or self.checkpoints_path.exists()
        return begun and self._config_path.exists()

    @property
    def _config_path(self) -> Path:
        return self.path / "config.yaml"

    def _read_json(self, name: str) -> Any:
        path = self.path / name
        if not path.exists():
            return None
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise UserError(f"{path}: cannot be read: not what a run has written")
        return value

    def _write_json(self, name: str, value: Any) -> None:
        write_whole(self.path / name, json.dumps(value, indent=2) + "\n")
