"""Saving a run and resuming it: the arrays, and the host's record of the progress."""

import functools
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from experiments.errors import UserError
from experiments.training.train_step import TrainState


@dataclass
class TrainingProgress:
    """The progress of a run on the host, saved with every checkpoint.

    Attributes:
      update: updates done by the seeds that still train.
      seconds: training time, summed over all processes that trained the run.
      compile_seconds: the part of `seconds` spent in the first dispatch of each kind, which
        compiles.
      device_seconds: the part of the remaining time in which Python waited for the device.
      solved_at: for each seed, the update at which it was first solved, or None.
      mastered_at: the same for mastered.
      stopped_at: for each seed, the update at which it stopped early, or None.
      diverged: for each seed, what was not finite and when, or None: ``{"update", "metric",
        "value", "group"}``.
    """

    update: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    device_seconds: float = 0.0
    solved_at: list[int | None] = field(default_factory=list)
    mastered_at: list[int | None] = field(default_factory=list)
    stopped_at: list[int | None] = field(default_factory=list)
    diverged: list[dict[str, Any] | None] = field(default_factory=list)

    @classmethod
    def at_start(cls, seeds: int) -> "TrainingProgress":
        """The progress before the first update.

        >>> TrainingProgress.at_start(seeds=2).stopped_at
        [None, None]
        """
        return cls(
            solved_at=[None] * seeds,
            mastered_at=[None] * seeds,
            stopped_at=[None] * seeds,
            diverged=[None] * seeds,
        )


class Checkpoints:
    """Checkpoints of the `TrainState` and the `TrainingProgress`; keeps the last two."""

    def __init__(self, path: Path) -> None:
        # Orbax logs every save; its warnings and errors still pass.
        logging.getLogger("absl").setLevel(logging.WARNING)
        self._path = path
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        try:
            self._manager = ocp.CheckpointManager(path.absolute(), options=options)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not a folder of checkpoints ({error!s:.100})") from error

    def save(self, states: TrainState, progress: TrainingProgress) -> None:
        """Save a checkpoint, unless there is one of this update."""
        if self._manager.latest_step() == progress.update:
            return
        self._manager.save(
            progress.update,
            args=ocp.args.Composite(
                states=ocp.args.StandardSave(states),
                progress=ocp.args.JsonSave(asdict(progress)),
            ),
        )

    def restore(self, like: TrainState) -> tuple[TrainState, TrainingProgress] | None:
        """Read the latest checkpoint.

        Args:
          like: states with the structure, shapes and dtypes of the saved ones.

        Returns:
          The states and the progress, or None if there is no checkpoint.

        Raises:
          UserError: if the checkpoint cannot be read.
        """
        latest = self._manager.latest_step()
        if latest is None:
            return None
        args = ocp.args.Composite(
            states=ocp.args.StandardRestore(jax.tree.map(_abstract, like)),
            progress=ocp.args.JsonRestore(),
        )
        # If the restore fails, the hook stays: the reads of the other arrays end later.
        original_hook = sys.unraisablehook
        sys.unraisablehook = functools.partial(_ignore_cancelled_reads, original_hook)
        try:
            restored = self._manager.restore(latest, args=args)
            sys.unraisablehook = original_hook
            return restored["states"], TrainingProgress(**restored["progress"])
        # The type of the exception depends on which file is damaged and how.
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{self._path / str(latest)}: this checkpoint cannot be read ({reason:.100});"
                " delete its folder to resume from the previous checkpoint"
            ) from error

    def close(self) -> None:
        """Close Orbax's checkpoint manager."""
        self._manager.close()


def _ignore_cancelled_reads(original_hook: Callable[[Any], None], unraisable: Any) -> None:
    """Suppress the errors of reads that Orbax cancels after one array could not be read."""
    if str(unraisable.exc_value) != "Event loop is closed":
        original_hook(unraisable)


def _abstract(array: jax.Array) -> jax.ShapeDtypeStruct:
    # The device may differ from the one that saved: a run can be evaluated on another machine.
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=here)
