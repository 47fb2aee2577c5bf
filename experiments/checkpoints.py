"""Checkpoints of a run: the arrays, and what the host knows beside them."""

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
from experiments.train import TrainState


@dataclass
class Progress:
    """What a run knows beside its `TrainState`; kept with every checkpoint.

    Attributes:
      update: updates done by the seeds that still train.
      seconds: time spent training, over all the times that the run was started.
      compile_seconds: the part of it that went into the first dispatch of each kind, which
        compiles.
      device_seconds: the part of the rest in which Python waited for the device.
      solved_at: for each seed the update at which it was first solved, or None.
      mastered_at: likewise for mastered.
      stopped_at: for each seed the update at which it stopped early, or None.
    """

    update: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    device_seconds: float = 0.0
    solved_at: list[int | None] = field(default_factory=list)
    mastered_at: list[int | None] = field(default_factory=list)
    stopped_at: list[int | None] = field(default_factory=list)


class Checkpoints:
    """Checkpoints of the `TrainState` and the `Progress`; the last two are kept."""

    def __init__(self, path: Path) -> None:
        # Orbax tells every save at length; its warnings and errors still pass.
        logging.getLogger("absl").setLevel(logging.WARNING)
        self._path = path
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        try:
            self._manager = ocp.CheckpointManager(path.absolute(), options=options)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not a folder of checkpoints ({error!s:.100})") from error

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
        """The latest checkpoint, in the structure of `like`; None where there is none.

        Raises:
          UserError: when it cannot be read.
        """
        latest = self._manager.latest_step()
        if latest is None:
            return None
        args = ocp.args.Composite(
            states=ocp.args.StandardRestore(jax.tree.map(_abstract, like)),
            progress=ocp.args.JsonRestore(),
        )
        # The hook stays when the restore fails, since its reads end later.
        shown = sys.unraisablehook
        sys.unraisablehook = functools.partial(_without_dropped_reads, shown)
        try:
            restored = self._manager.restore(latest, args=args)
            sys.unraisablehook = shown
            return restored["states"], Progress(**restored["progress"])
        # What a damaged file raises depends on which file it is and what is missing.
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{self._path / str(latest)}: this checkpoint cannot be read ({reason:.100});"
                " without its folder the run goes on from the one before"
            ) from error

    def close(self) -> None:
        """Release the folder."""
        self._manager.close()


def _without_dropped_reads(shown: Callable[[Any], None], unraisable: Any) -> None:
    """When one array cannot be read, Orbax drops the reads of the others, which complain later."""
    if str(unraisable.exc_value) != "Event loop is closed":
        shown(unraisable)


def _abstract(array: jax.Array) -> jax.ShapeDtypeStruct:
    # Where it was saved from does not matter: a run may be looked at on another machine.
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=here)
