"""A run's folder: its config, environment, metrics, summary and checkpoints."""

import json
import logging
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from experiments.config import Config
from experiments.config_file import differences, dump_config, load_config
from experiments.errors import UserError
from experiments.train import TrainState

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


@dataclass
class Progress:
    """What a run knows beside its `TrainState`; kept with every checkpoint.

    Attributes:
      update: updates done by the seeds that still train.
      seconds: time spent training, over all the times that the run was started.
      device_seconds: the part of it in which the device worked, or Python waited for it.
      solved_at: for each seed the update at which it was first solved, or None.
      mastered_at: likewise for mastered.
      stopped_at: for each seed the update at which it stopped early, or None.
    """

    update: int = 0
    seconds: float = 0.0
    device_seconds: float = 0.0
    solved_at: list[int | None] = field(default_factory=list)
    mastered_at: list[int | None] = field(default_factory=list)
    stopped_at: list[int | None] = field(default_factory=list)


class Workdir:
    """The folder of one run.

    Args:
      path: the folder; `create` or `existing` make one that is checked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics_path = path / "metrics.jsonl"
        self.figures_path = path / "figures"

    @classmethod
    def create(cls, path: Path, config: Config) -> "Workdir":
        """Take a new folder for this config, or one in which the same config ran before.

        Raises:
          UserError: when another config ran there, or the folder cannot be written.
        """
        workdir = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if workdir._config_path.exists():
                differing = differences(workdir.config(), config)
                if differing:
                    raise UserError(
                        f"{path} holds a run with another config; it has\n  "
                        + "\n  ".join(differing)
                        + "\nchoose another folder with --workdir"
                    )
            else:
                workdir._write(workdir._config_path, dump_config(config))
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from None
        return workdir

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
    def checkpoints(self) -> "Checkpoints":
        """The run's checkpoints."""
        return Checkpoints(self.path / "checkpoints")

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

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
        self._write(self.metrics_path, "".join(kept))

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json."""
        self._write_json("summary.json", summary)

    def summary(self) -> dict[str, Any] | None:
        """summary.json, which only a finished run has."""
        return self._read_json("summary.json")

    def write_environment(self) -> None:
        """Write environment.json."""
        self._write_json("environment.json", environment())

    def environment(self) -> dict[str, Any] | None:
        """environment.json: where the run took place."""
        return self._read_json("environment.json")

    @property
    def _config_path(self) -> Path:
        return self.path / "config.yaml"

    def _read_json(self, name: str) -> Any:
        path = self.path / name
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise UserError(f"{path}: cannot be read: not valid JSON") from None

    def _write_json(self, name: str, value: Any) -> None:
        self._write(self.path / name, json.dumps(value, indent=2) + "\n")

    @staticmethod
    def _write(path: Path, text: str) -> None:
        # Through a temporary file, so that an interruption never leaves half a file.
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)


class Checkpoints:
    """Checkpoints of the `TrainState` and the `Progress`; the last two are kept."""

    def __init__(self, path: Path) -> None:
        # Orbax tells every save at length; its warnings and errors still pass.
        logging.getLogger("absl").setLevel(logging.WARNING)
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(path.absolute(), options=options)

    def save(self, states: TrainState, progress: Progress) -> None:
        """Save, unless this update is saved already."""
        if self._manager.latest_step() == progress.update:
            return
        self._manager.save(
            progress.update,
            args=ocp.args.Composite(
                states=ocp.args.StandardSave(states),
                progress=ocp.args.JsonSave(asdict(progress)),
            ),
        )

    def restore(self, like: TrainState) -> tuple[TrainState, Progress] | None:
        """The latest checkpoint, in the structure of `like`; None where there is none."""
        latest = self._manager.latest_step()
        if latest is None:
            return None
        restored = self._manager.restore(
            latest,
            args=ocp.args.Composite(
                states=ocp.args.StandardRestore(jax.tree.map(_abstract, like)),
                progress=ocp.args.JsonRestore(),
            ),
        )
        return restored["states"], Progress(**restored["progress"])

    def close(self) -> None:
        """Release the folder."""
        self._manager.close()


def environment() -> dict[str, Any]:
    """Where the run takes place: versions, device, machine, and the commit where there is one."""
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "device": device.device_kind,
        "backend": jax.default_backend(),
        "devices": jax.device_count(),
        "versions": {package: version(package) for package in PACKAGES},
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain")),
    }


def _abstract(array: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    """What git says of the folder the code lies in; None where there is no git or no repository."""
    try:
        result = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
