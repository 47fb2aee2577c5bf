"""Bundles: the last good state of a lane that diverged, with what the bad update needs."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, Self

from experiments.config.file import dump_config, load_config
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.run.atomic_write import write_atomic
from experiments.run.environment import current_environment
from experiments.run.read_file import read_regular
from experiments.run.safetensors_file import file_chunks, read_file
from experiments.run.state_files import owned_tensors, restored, saved_leaves
from lstm_jax.types import PyTree

FOLDER = "diverged"
"""The folder of the bundles in a workdir."""


class Bundle:
    """A folder that replays one update.

    Args:
      path: the folder, ``WORKDIR/diverged/seed-3-update-71``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, workdir: Path, lane: str, update: int) -> Self:
        """The bundle of a lane in a workdir.

        >>> print(Bundle.of(Path("runs/x"), "seed 3", 71).path)
        runs/x/diverged/seed-3-update-71
        """
        return cls(workdir / FOLDER / re.sub(r"[^\w.-]+", "-", f"{lane} update {update}"))

    @classmethod
    def found(cls, path: Path) -> list[Self]:
        """The bundle in a folder, or all bundles of a workdir.

        Raises:
          UserError: if there is none.
        """
        folders = [path, *sorted((path / FOLDER).glob("*"))]
        bundles = [cls(folder) for folder in folders if cls(folder)._event_path.is_file()]
        if not bundles:
            raise UserError(
                f"{path}: has nothing to replay; it is neither the folder of a divergence nor a"
                f" workdir with some in {FOLDER}/"
            )
        return bundles

    @staticmethod
    def clear(workdir: Path) -> None:
        """Remove the bundles of a workdir in which training starts anew."""
        shutil.rmtree(workdir / FOLDER, ignore_errors=True)

    def write(self, config: Config, state: PyTree, event: dict[str, Any]) -> None:
        """Write the bundle.

        Args:
          config: the config of the lane alone.
          state: its state before the update.
          event: what happened, in plain values.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path / "config.yaml", dump_config(config))
        write_atomic(self._state_path, b"".join(file_chunks(*owned_tensors(state, 0, 1))))
        # Written last, as it makes the folder a bundle.
        event = {**event, "environment": current_environment()}
        write_atomic(self._event_path, json.dumps(event, indent=2) + "\n")

    def config(self) -> Config:
        """The config of the lane."""
        return load_config(self.path / "config.yaml")

    def event(self) -> dict[str, Any]:
        """What happened.

        Raises:
          UserError: if the file is damaged.
        """
        try:
            event = json.loads(self._event_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            event = None
        if not isinstance(event, dict) or not {"update", "metric", "value"} <= event.keys():
            raise UserError(f"{self._event_path}: cannot be read: not written by a run")
        return event

    def state(self, like: PyTree) -> PyTree:
        """The state before the update.

        Args:
          like: a state with the structure and shapes of the saved one.

        Raises:
          UserError: if the file is damaged or of another model.
        """
        try:
            leaves = saved_leaves([read_file(read_regular(self._state_path))])
        except (OSError, ValueError) as error:
            raise UserError(f"{self._state_path}: cannot be read ({error!s:.100})") from None
        return restored(like, leaves, str(self._state_path))

    @property
    def _event_path(self) -> Path:
        return self.path / "divergence.json"

    @property
    def _state_path(self) -> Path:
        return self.path / "state.safetensors"
