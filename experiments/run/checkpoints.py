"""Saving a run and resuming it: the checkpoints of a workdir."""

import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import jax
import numpy as np

from experiments.errors import UserError
from experiments.run import processes
from experiments.run.atomic_write import FileDigest, sync_folder, write_errors, write_synced
from experiments.run.checkpoint_folder import (
    DamagedError,
    SavedCheckpoint,
    checkpoint_updates,
    open_checkpoint,
    write_checksums,
    write_texts,
)
from experiments.run.metrics_file import MetricsFile, MetricsMark
from experiments.run.progress import TrainingProgress
from experiments.run.safetensors_file import file_chunks
from experiments.run.shown_path import shown
from experiments.run.state_files import (
    owned_tensors,
    restored,
    state_file_name,
    state_file_names,
)
from lstm_jax.types import PyTree

__all__ = ["Checkpoints", "TrainingProgress"]

ADVICE = "put back a copy, or train anew in another folder with --workdir"
_MOST_TRIES = 20


class Checkpoints:
    """Checkpoints of a state on the devices and of the progress; keeps the newest two.

    Args:
      path: the folder; it does not have to exist.
      metrics: the metrics file of the run.
      check: called with a checkpoint before it is used; raises UserError if it is not of this run.
    """

    def __init__(
        self,
        path: Path,
        metrics: MetricsFile,
        check: Callable[[SavedCheckpoint], None] = lambda saved: None,
    ) -> None:
        self.path, self.metrics, self._check = path, metrics, check
        self.config = ""
        """The config of the run as YAML, of which every checkpoint has a copy."""
        self._good: list[int] = []  # the newest that are known to be right

    def save(self, states: PyTree, progress: TrainingProgress) -> None:
        """Save a checkpoint, unless there is one of this update.

        The records of metrics.jsonl are on the disk before the checkpoint is complete. All
        processes of a run call this together, each with its parts of the arrays.

        Args:
          states: any tree of arrays.
          progress: the progress.

        Raises:
          TrainingFailed: if it cannot be written; then the earlier checkpoints are as they were.
        """
        if progress.update in self._good:
            return
        index, count = jax.process_index(), jax.process_count()
        temporary = self.path / f".{progress.update}.tmp-{processes.of_first(os.getpid())}"
        mark = MetricsMark()
        try:
            with processes.together(), write_errors(self.path):
                if processes.is_first():
                    mark = self.metrics.mark()
                    self._make_folder()
                    os.mkdir(temporary)
            digest = FileDigest(0, "")
            with processes.together(), write_errors(self.path):
                chunks = file_chunks(*owned_tensors(states, index, count))
                digest = write_synced(temporary / state_file_name(index, count), chunks)
            digests = _gathered(digest)
            with processes.together(), write_errors(self.path):
                if processes.is_first():
                    digests |= write_texts(temporary, progress, mark, self.config)
                    write_checksums(temporary, digests, count)
                    self._put_in_place(temporary, progress.update)
        except Exception:
            if processes.is_first():
                shutil.rmtree(temporary, ignore_errors=True)
            raise
        self._good = [*self._good[-1:], progress.update]
        if processes.is_first():
            self._remove_older()

    def restore(self, like: PyTree) -> tuple[PyTree, TrainingProgress] | None:
        """Read the newest checkpoint that is not damaged, and change nothing.

        Args:
          like: arrays, or `jax.ShapeDtypeStruct`, in the structure of the saved ones; they come
            back with its shardings, whatever number of devices and processes saved them.

        Returns:
          The states and the progress, or None if there is no checkpoint.

        Raises:
          UserError: if all are damaged, or of another model.
        """
        saved, reasons = self._newest(lambda _: None)
        if saved is None:
            if reasons:
                raise self._none_usable(reasons)
            return None
        self._check(saved)
        self._report(reasons, saved)
        return restored(like, saved.leaves, shown(saved.folder)), saved.progress

    def resume(self, like: PyTree, checkpoint_every: int) -> tuple[PyTree, TrainingProgress] | None:
        """Read the newest checkpoint that fits metrics.jsonl, and cut that file after it.

        What was left of an interrupted save is removed. All processes of a run call this together.

        Args:
          like: as in `restore`.
          checkpoint_every: updates between checkpoints.

        Returns:
          The states and the progress, or None if nothing was saved, so that training starts anew.

        Raises:
          UserError: if nothing fits; then nothing was changed.
        """
        saved, misfits, reasons, update = None, [], {}, -1
        with processes.together():
            if processes.is_first():
                saved, misfits, reasons = self._fitting(checkpoint_every)
                update = -1 if saved is None else saved.progress.update
        update = processes.of_first(update)
        result = None
        with processes.together():
            if update >= 0:
                saved = saved or open_checkpoint(self.path / str(update))
                result = restored(like, saved.leaves, shown(saved.folder)), saved.progress
        # Nothing has been changed until here, where nothing can be wrong any more.
        with processes.together():
            if processes.is_first():
                self._settle(saved, misfits, reasons)
        self._good = [] if result is None else [update]
        return result

    def check(self, checkpoint_every: int) -> None:
        """Raise what `resume` would raise for these checkpoints, and change nothing.

        Raises:
          UserError: if none fits.
        """
        self._fitting(checkpoint_every)

    def newest_config(self) -> str | None:
        """The config that the newest checkpoint was trained with, as YAML; None without one.

        Raises:
          UserError: if all are damaged.
        """
        saved, reasons = self._newest(lambda _: None)
        if saved is None and reasons:
            raise self._none_usable(reasons)
        return None if saved is None else saved.config

    def updates(self) -> list[int]:
        """The updates of the checkpoints, from the newest; they may be damaged."""
        try:
            return checkpoint_updates(self.path)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{shown(self.path)}: not a folder of checkpoints: {reason}") from None

    def close(self) -> None:
        """Close the metrics file."""
        self.metrics.close()

    def _fitting(
        self, checkpoint_every: int
    ) -> tuple[SavedCheckpoint | None, list[SavedCheckpoint], dict[int, str]]:
        """The checkpoint to resume from, newer ones that do not fit, and why newer ones do not."""
        misfits: list[SavedCheckpoint] = []

        def misfit(saved: SavedCheckpoint) -> str | None:
            if (reason := self.metrics.mismatch(saved.metrics)) is not None:
                misfits.append(saved)
                return f"metrics.jsonl is not as it was then: {reason}"
            return None

        saved, reasons = self._newest(misfit)
        if saved is not None:
            self._check(saved)
        elif misfits:
            raise UserError(
                f"{shown(self.metrics.path)}: {self.metrics.mismatch(misfits[-1].metrics)}; no"
                f" checkpoint fits this file, and nothing was changed; {ADVICE}"
            )
        elif reasons:
            raise self._none_usable(reasons)
        elif (last := self.metrics.last_update()) > checkpoint_every:
            raise UserError(
                f"{shown(self.path)}: has no checkpoint, but metrics.jsonl goes to update {last}:"
                f" were they deleted? Nothing was changed; {ADVICE}"
            )
        return saved, misfits, reasons

    def _settle(
        self,
        saved: SavedCheckpoint | None,
        misfits: list[SavedCheckpoint],
        reasons: dict[int, str],
    ) -> None:
        """Make the folder as it was at a checkpoint, or at the start; keep what was damaged."""
        mark = MetricsMark() if saved is None else saved.metrics
        if saved is None:
            try:
                self.metrics.read()
            except UserError as error:
                copy = self.metrics.set_aside().name
                print(f"{error}; it is kept as {copy}; starting anew", file=sys.stderr)
        else:
            if misfits:
                newest = misfits[0].metrics
                reason = (
                    f"metrics.jsonl is not as it was then: {self.metrics.mismatch(newest, mark)}"
                )
                if self.metrics.has_more_than(newest, mark):
                    reason += f"; it is kept as {self.metrics.set_aside().name}"
                reasons[misfits[0].progress.update] = reason
            self._report(reasons, saved)
        self._remove_leftovers()
        self.metrics.rewind(mark)

    def _newest(
        self, misfit: Callable[[SavedCheckpoint], str | None]
    ) -> tuple[SavedCheckpoint | None, dict[int, str]]:
        """The newest checkpoint that can be used, and why each newer one cannot."""
        for _ in range(_MOST_TRIES):
            reasons: dict[int, str] = {}
            try:
                for update in self.updates():
                    try:
                        saved = open_checkpoint(self.path / str(update))
                        if (reason := misfit(saved)) is None:
                            return saved, reasons
                    except DamagedError as error:
                        reason = str(error)
                    reasons[update] = reason
                return None, reasons
            except FileNotFoundError:
                # A training in another process has replaced it by a newer one.
                continue
        raise UserError(f"{shown(self.path)}: changes all the time; try again")

    def _report(self, reasons: dict[int, str], saved: SavedCheckpoint) -> None:
        for update, reason in reasons.items():
            print(
                f"{shown(self.path / str(update))}: not used: {reason}; using the checkpoint of"
                f" update {saved.progress.update}",
                file=sys.stderr,
            )

    def _none_usable(self, reasons: dict[int, str]) -> UserError:
        lines = [f"  {update}: {reason}" for update, reason in reasons.items()]
        return UserError(
            f"{shown(self.path)}: every checkpoint is damaged, and nothing was changed:\n"
            + "\n".join(lines)
            + f"\n{ADVICE}"
        )

    def _make_folder(self) -> None:
        if not self.path.exists():
            os.mkdir(self.path)
            sync_folder(self.path.parent)

    def _put_in_place(self, temporary: Path, update: int) -> None:
        """Give a complete checkpoint its name; a damaged one of that name makes room."""
        final, replaced = self.path / str(update), self.path / f".{update}.replaced"
        if os.path.lexists(final):
            _remove(replaced)
            os.rename(final, replaced)
        os.rename(temporary, final)
        sync_folder(self.path)
        _remove(replaced)

    def _remove_older(self) -> None:
        """Remove what the newest two supersede; newer ones, which are damaged, stay."""
        with suppress(OSError):
            for update in checkpoint_updates(self.path):
                if update < self._good[-1] and update not in self._good:
                    # Renamed first, so that nobody sees half a checkpoint.
                    old = self.path / f".{update}.old"
                    os.rename(self.path / str(update), old)
                    _remove(old)

    def _remove_leftovers(self) -> None:
        """Remove what a killed process left of a save, and put back what it had moved."""
        with suppress(OSError):
            for name in os.listdir(self.path):
                match = re.fullmatch(r"\.([1-9][0-9]*)\.(replaced|old|tmp-[0-9]+)", name)
                if match is None:
                    continue
                if match[2] == "replaced" and not os.path.lexists(self.path / match[1]):
                    os.rename(self.path / name, self.path / match[1])
                else:
                    _remove(self.path / name)


def _remove(path: Path) -> None:
    """Remove a file or a folder, as far as that is possible."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        os.unlink(path)


def _gathered(digest: FileDigest) -> dict[str, FileDigest]:
    """The digests of the files that all processes have written."""
    data = digest.size.to_bytes(8, "little") + bytes.fromhex(digest.sha256)
    rows = processes.gathered(np.frombuffer(data, np.uint8))
    names = state_file_names(jax.process_count())
    return {
        name: FileDigest(int.from_bytes(row[:8].tobytes(), "little"), row[8:].tobytes().hex())
        for name, row in zip(names, rows, strict=True)
    }
