"""A training without a model, for tests of what a run keeps on disk; and faults of that disk."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.config.schema import Config, EvalConfig, TrainConfig
from experiments.run.atomic_write import write_synced
from experiments.run.checkpoint_folder import CHECKSUMS, write_checksums
from experiments.run.checkpoints import TrainingProgress
from experiments.run.workdir import Workdir
from experiments.tasks import Adding

CONFIG = Config(
    task=Adding(length=6),
    train=TrainConfig(
        batch_size=4, updates=60, log_every=10, eval_every=20, checkpoint_every=20,
        stop_when="never",
    ),
    eval=EvalConfig(sequences=20, batch_size=10),
    seeds=2,
)  # fmt: skip


def initial():
    return {"params": np.arange(6.0, dtype=np.float32), "count": np.array(0, np.int32)}


LIKE = initial()


def toy_train(path: Path, config: Config = CONFIG) -> dict[str, Any]:
    """What `train_run` does to a workdir, with another state and without JAX."""
    workdir = Workdir.of(path, config)
    workdir.restore_config()
    finished = workdir.summary()
    if finished is not None:
        return finished
    with workdir.locked():
        workdir.begin(config)
        states, progress = workdir.resume(LIKE) or (initial(), TrainingProgress.at_start(2))
        while progress.update < config.train.updates:
            states = {
                "params": states["params"] * np.float32(1.1) + states["count"].astype(np.float32),
                "count": states["count"] + np.int32(1),
            }
            progress.update += 10
            progress.seconds += 0.5
            loss = [float(x) for x in states["params"][:2]]
            workdir.metrics.append({"update": progress.update, "loss": loss})
            if progress.update % config.train.checkpoint_every == 0:
                workdir.checkpoints.save(states, progress)
        workdir.checkpoints.save(states, progress)
        solved = {"goal": "mse < 1", "reached_on_test": [], "first_at_update": [None, 40]}
        test = {"mse": {"seeds": [float(x) for x in states["params"][:2]]}}
        summary = {
            "command": "the command", "task": "adding", "seeds": [0, 1], "updates": [60, 60],
            "sequences": [240, 240], "sequences_per_update": 4, "metric": "mse", "baselines": {},
            "test": test, "goals": {"solved": solved}, "seconds": progress.seconds,
            "updates_per_second": 1.0,
            "python_share": 0.1, "figures": [],
        }  # fmt: skip
        workdir.write_summary(summary)
        return summary


def snapshot(path: Path) -> dict[str, bytes]:
    """The content of all files of a folder, without the lock."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


def reseal(folder: Path) -> None:
    """Make the checksums of a changed checkpoint right again."""
    names = [name for name in os.listdir(folder) if name != CHECKSUMS]
    digests = {name: write_synced(folder / name, [(folder / name).read_bytes()]) for name in names}
    write_checksums(folder, digests, 1)


class KilledError(BaseException):
    """The process has ended: nothing that it does afterwards reaches the disk."""


CHANGES = ("open", "write", "pwrite", "fsync", "replace", "rename", "mkdir", "rmdir", "unlink",
           "ftruncate")  # fmt: skip
"""The calls by which a run changes the disk."""


class FaultyDisk:
    """The calls of `os` that change the disk, with a fault at one of them.

    Args:
      at: the index of the call; None for no fault.
      fault: ``"kill"``: the process ends before the call; ``"kill half"``: in the middle of a
        write; or a code of `errno`: the call fails.
    """

    def __init__(self, at: int | None, fault: str | int) -> None:
        self.at, self.fault, self.dead = at, fault, False
        self.calls: list[str] = []

    @contextmanager
    def patched(self, monkeypatch: Any) -> Iterator["FaultyDisk"]:
        """Run the block on this disk."""
        with monkeypatch.context() as patch:
            for name in CHANGES:
                patch.setattr(os, name, self._faulty(name, getattr(os, name)))
            yield self

    def _faulty(self, name: str, original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not args[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return original(*args, **kwargs)
            if self.dead:
                raise KilledError
            self.calls.append(name)
            if len(self.calls) - 1 == self.at:
                if name == "write" and self.fault != "kill":
                    original(args[0], bytes(args[1])[: len(args[1]) // 2])
                if isinstance(self.fault, int):
                    raise OSError(self.fault, os.strerror(self.fault), "a file")
                self.dead = True
                raise KilledError
            # Nothing is lost when a process ends, so there is no need to wait for the disk.
            return None if name == "fsync" else original(*args, **kwargs)

        return call


def changes(path: Path, monkeypatch: Any) -> list[str]:
    """The calls of a whole run that change the disk."""
    with FaultyDisk(None, errno.EIO).patched(monkeypatch) as disk:
        toy_train(path)
    return disk.calls


def leaves_equal(one: Any, other: Any) -> bool:
    """Whether two trees have equal leaves, bit for bit."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(
        np.asarray(a).tobytes() == np.asarray(b).tobytes() and a.dtype == b.dtype for a, b in pairs
    )
