"""The workdir of a run: its config, environment, metrics, summary, checkpoints and figures."""

import itertools
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.config.file import differences, dump_config, load_config
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.run import json_forms, lock, processes
from experiments.run.atomic_write import write_atomic, write_errors
from experiments.run.checkpoint_folder import CONFIG, SavedCheckpoint
from experiments.run.checkpoints import Checkpoints, TrainingProgress
from experiments.run.environment import current_environment, environment_differences
from experiments.run.metrics_file import MetricsFile
from experiments.run.read_file import open_regular, read_json
from experiments.run.shown_path import shown
from lstm_jax.types import PyTree

MAY_DIFFER = ("devices.data", "devices.hidden")
"""Fields in which a run may resume with other values: where it trains is no part of what."""


class Workdir:
    """The folder of one run.

    Args:
      path: the folder; `of` and `existing` also check it.
      may_differ: names of config fields, such as ``"train.updates"``, in which the checkpoints may
        differ from the config of the folder.
    """

    def __init__(self, path: Path, may_differ: Sequence[str] = ()) -> None:
        self.path, self.may_differ = path, tuple(may_differ)
        self._begun: Config | None = None
        self._starts_anew = False
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
        workdir._check(config)
        return workdir

    def begin(self, config: Config) -> "Workdir":
        """Create the folder and write the config; where a run trains, under its lock.

        The config of a started run stays as it is, except for fields that `may_differ`.

        Raises:
          UserError: if the folder cannot be written, or belongs to a run of another config.
        """
        text = dump_config(config)
        with processes.together():
            if processes.is_first():
                self._make_folder()
                # Another process may have been here since `of`.
                self._check(config)
                known = self._started() and os.path.lexists(self._config_path)
                if not known or (self.may_differ and differences(self.config(), config)):
                    with write_errors(self._config_path, at_start=True):
                        write_atomic(self._config_path, text)
        self._begun, self.checkpoints.config = config, text
        return self

    @classmethod
    def existing(cls, path: Path) -> "Workdir":
        """The workdir of a run that has been started.

        Raises:
          UserError: if there is no such run.
        """
        # A run that was to go on for longer may not have saved a checkpoint since.
        workdir = cls(path, may_differ=["train.updates"])
        if not workdir._config_path.exists():
            hint = ""
            if updates := workdir.checkpoints.updates():
                hint = f"; {shown(workdir.checkpoints_path / str(updates[0]) / CONFIG)} is a copy"
            raise UserError(f"{shown(path)}: not the folder of a run; it has no config.yaml{hint}")
        return workdir

    def config(self) -> Config:
        """The config of the run."""
        return self._begun or _load(self._config_path)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of the run."""
        return Checkpoints(self.checkpoints_path, self.metrics, self._check_saved)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and lock it for this process, before anything else is written.

        Raises:
          UserError: if another process trains in it, or it cannot be written.
        """
        with ExitStack() as stack:
            with processes.together():
                if processes.is_first():
                    self._make_folder()
                    stack.enter_context(lock.locked(self.path))
            stack.callback(self.checkpoints.close)
            yield

    def resume(self, like: PyTree) -> tuple[PyTree, TrainingProgress] | None:
        """The state to train on from, with metrics.jsonl cut to it; `begin` comes before.

        Args:
          like: the initial states, or their shapes, dtypes and shardings.

        Returns:
          The states and the progress of the newest checkpoint that can be used, or None if
          training starts anew.

        Raises:
          UserError: if what is there does not fit together; then nothing was changed.
        """
        found = self.checkpoints.resume(like, self.config().train.checkpoint_every)
        self._starts_anew = found is None
        return found

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json; numbers that are not finite become null."""
        self._write_json("summary.json", summary)

    def summary(self) -> dict[str, Any] | None:
        """The content of summary.json, or None if the run is not finished."""
        try:
            return read_json(self.path / "summary.json", json_forms.SUMMARY)
        except UserError as error:
            raise UserError(f"{error}; delete it, and the same command writes it again") from None

    def write_environment(
        self, implementations: Sequence[str] = (), devices: Sequence[Any] | None = None
    ) -> dict[str, Any]:
        """Write environment.json; if the run resumes in another environment, add that one.

        What may change the last digits of the results is printed as well.

        Args:
          implementations: the backends that unroll the model.
          devices: the devices that train; by default one.

        Returns:
          The current environment.
        """
        here = current_environment(implementations, devices)
        if not processes.is_first():
            return here
        first = self._first_environment()
        if first is None or self._starts_anew:
            self._write_json("environment.json", here)
            return here
        resumed = first.setdefault("resumed_in", [])
        before = [{k: v for k, v in first.items() if k != "resumed_in"}, *resumed]
        if differing := environment_differences(before[-1], here):
            print(
                "resuming in another environment, so that the last digits may differ from an"
                f" uninterrupted run: {'; '.join(differing)}",
                file=sys.stderr,
            )
        if here not in before[-1:]:
            resumed.append(here)
            self._write_json("environment.json", first)
        return here

    def environment(self) -> dict[str, Any] | None:
        """The content of environment.json, or None if there is no such file."""
        return read_json(self.path / "environment.json", json_forms.ENVIRONMENT)

    def _first_environment(self) -> dict[str, Any] | None:
        """The environment in which the run began; a damaged file is moved aside."""
        form = json_forms.ENVIRONMENT | {"resumed_in": [json_forms.ENVIRONMENT]}
        path = self.path / "environment.json"
        try:
            first = read_json(path, json_forms.ENVIRONMENT)
            if first is not None and "resumed_in" in first:
                read_json(path, form)
            return first
        except UserError as error:
            names = (path.with_name(f"{path.name}.damaged-{n}") for n in itertools.count(1))
            aside = next(name for name in names if not os.path.lexists(name))
            with write_errors(path):
                os.rename(path, aside)
            print(f"{error}; it is kept as {aside.name}", file=sys.stderr)
            return None

    def _make_folder(self) -> None:
        with write_errors(self.path, at_start=True):
            if not os.path.isdir(self.path):
                self.path.mkdir(parents=True, exist_ok=True)

    def _started(self) -> bool:
        """Whether a run has trained here."""
        if not os.path.isdir(self.path):
            return False
        with suppress(OSError):
            if self.metrics.path.stat().st_size > 0:
                return True
        return bool(self.checkpoints.updates())

    def _check(self, config: Config) -> None:
        """Raise if the folder has a started run with another config."""
        if not self._started():
            return
        if os.path.lexists(self._config_path):
            self._raise_for(differences(self.config(), config), f"{shown(self.path)} has")
        else:
            self._check_newest_config(config)

    def _check_newest_config(self, config: Config) -> None:
        """Raise if the folder has a checkpoint of another config, where config.yaml is missing."""
        text = self.checkpoints.newest_config()
        if text is None or text == dump_config(config):
            return
        newest = self.checkpoints_path / str(self.checkpoints.updates()[0]) / CONFIG
        self._raise_for(differences(_load(newest), config), f"{shown(self.path)} has")

    def restore_config(self) -> None:
        """Write config.yaml again from the newest checkpoint, if it is missing.

        The run is then known, also one that is finished or has another number of updates.
        """
        if not self._started() or os.path.lexists(self._config_path):
            return
        text = self.checkpoints.newest_config()
        if text is None:
            return
        with write_errors(self._config_path, at_start=True):
            write_atomic(self._config_path, text)
        print(f"{shown(self._config_path)}: was missing; written again", file=sys.stderr)

    def _check_saved(self, saved: SavedCheckpoint) -> None:
        """Raise if a checkpoint is of another config than the folder."""
        here = self.config()
        if saved.config != dump_config(here):
            who = f"{shown(self._config_path)} was changed: {shown(saved.folder)} has"
            self._raise_for(differences(_load(saved.folder / CONFIG), here), who)

    def _raise_for(self, differing: list[str], who: str) -> None:
        may_differ = {*self.may_differ, *MAY_DIFFER}
        differing = [d for d in differing if d.partition(":")[0] not in may_differ]
        if differing:
            raise UserError(
                f"{who} a run with another config; it has\n  "
                + "\n  ".join(differing)
                + "\nchoose another folder with --workdir"
            )

    @property
    def _config_path(self) -> Path:
        return self.path / CONFIG

    def _write_json(self, name: str, value: Any) -> None:
        with write_errors(self.path / name):
            write_atomic(self.path / name, json.dumps(_finite(value), indent=2) + "\n")


def _load(path: Path) -> Config:
    try:
        os.close(open_regular(path))
    except OSError as error:
        raise UserError(f"{shown(path)}: cannot be read: {error.strerror or error}") from None
    return load_config(path)


def _finite(value: Any) -> Any:
    """A value of JSON, with null for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
