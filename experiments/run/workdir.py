"""The workdir of a run: its config, environment, metrics, summary, checkpoints and figures."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.config.file import differences, dump_config, load_config
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.run.atomic_write import write_atomic
from experiments.run.checkpoints import Checkpoints
from experiments.run.environment import current_environment
from experiments.run.metrics_file import MetricsFile

try:
    import fcntl
except ImportError:
    fcntl = None


class Workdir:
    """The folder of one run.

    Args:
      path: the folder; `of` and `existing` also check it.
      may_differ: names of config fields, such as ``"train.updates"``, in which the checkpoints may
        differ from the config of the folder.
    """

    def __init__(self, path: Path, may_differ: Sequence[str] = ()) -> None:
        self.path, self.may_differ = path, tuple(may_differ)
        self.metrics = MetricsFile(path / "metrics.jsonl")
        self.figures_path = path / "figures"
        self.checkpoints_path = path / "checkpoints"

    @classmethod
    def of(cls, path: Path, config: Config, may_differ: Sequence[str] = ()) -> "Workdir":
        """The workdir for a new or started run of this config; writes nothing.

        Raises:
          UserError: if it belongs to a run of another config.
        """
        workdir = cls(path, may_differ)
        differing = differences(workdir.config(), config) if workdir._started() else []
        differing = [d for d in differing if d.partition(":")[0] not in may_differ]
        if differing:
            raise UserError(
                f"{path} has a run with another config; it has\n  "
                + "\n  ".join(differing)
                + "\nchoose another folder with --workdir"
            )
        return workdir

    def begin(self, config: Config) -> "Workdir":
        """Create the folder and write the config.

        Raises:
          UserError: if the folder cannot be written.
        """
        self._make_folder()
        try:
            if not self._started():
                write_atomic(self._config_path, dump_config(config))
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from None
        return self

    @classmethod
    def existing(cls, path: Path) -> "Workdir":
        """The workdir of a run that has been started.

        Raises:
          UserError: if there is no such run.
        """
        workdir = cls(path)
        if not workdir._config_path.exists():
            raise UserError(f"{path}: not the folder of a run; it has no config.yaml")
        return workdir

    def config(self) -> Config:
        """The config of the run."""
        return load_config(self._config_path)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of the run."""
        return Checkpoints(self.checkpoints_path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and lock it for this process; at the end, close its checkpoints.

        Raises:
          UserError: if another process trains in it, or it cannot be written.
        """
        self._make_folder()
        with ExitStack() as stack:
            # Windows has no such lock, so there two processes are not kept apart.
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

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json."""
        self._write_json("summary.json", summary)

    def summary(self) -> dict[str, Any] | None:
        """The content of summary.json, or None if the run is not finished."""
        return self._read_json("summary.json")

    def write_environment(self) -> None:
        """Write environment.json; if the run resumes in another environment, add that one."""
        here, first = current_environment(), self.environment()
        if first is None:
            self._write_json("environment.json", here)
            return
        resumed = first.setdefault("resumed_in", [])
        if here not in [{k: v for k, v in first.items() if k != "resumed_in"}, *resumed]:
            resumed.append(here)
            self._write_json("environment.json", first)

    def environment(self) -> dict[str, Any] | None:
        """The content of environment.json, or None if there is no such file."""
        return self._read_json("environment.json")

    def _make_folder(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from None

    def _started(self) -> bool:
        """Whether a run has trained here; a run that failed before has no metrics."""
        has_metrics = self.metrics.path.exists() and self.metrics.path.stat().st_size > 0
        checkpoints = self.checkpoints_path
        has_checkpoints = checkpoints.is_dir() and any(checkpoints.iterdir())
        return (has_metrics or has_checkpoints) and self._config_path.exists()

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
            raise UserError(f"{path}: cannot be read: not written by a run")
        return value

    def _write_json(self, name: str, value: Any) -> None:
        write_atomic(self.path / name, json.dumps(value, indent=2) + "\n")
