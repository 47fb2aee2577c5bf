"""One checkpoint: a folder that is complete once it has its name.

It holds ``state.safetensors`` (or a file for each process), ``progress.json``, ``config.yaml`` as
trained, and ``checksums.json`` with the size and the SHA-256 of each. It is written under another
name, every file reaches the disk, and then it is renamed. Nothing is read from it before the
checksums have been compared.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.run.atomic_write import FileDigest, sync_folder, write_synced
from experiments.run.metrics_file import MetricsMark
from experiments.run.progress import TrainingProgress
from experiments.run.read_file import form_error, open_regular, parse_json
from experiments.run.safetensors_file import map_file, read_file
from experiments.run.state_files import SavedLeaf, saved_leaves, state_file_names

CHECKSUMS, PROGRESS, CONFIG = "checksums.json", "progress.json", "config.yaml"
HEAD = {"format": "lstm_jax checkpoint", "format_version": 1}
"""The first entries of checksums.json."""


class DamagedError(Exception):
    """A checkpoint that is not as it was written; the message says what is wrong."""


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint whose checksums are right.

    Attributes:
      folder: where it is.
      leaves: its arrays by name.
      progress: the progress of the run.
      metrics: how far metrics.jsonl went.
      config: the config that was trained, as YAML.
    """

    folder: Path
    leaves: Mapping[str, SavedLeaf]
    progress: TrainingProgress
    metrics: MetricsMark
    config: str


def checkpoint_updates(folder: Path) -> list[int]:
    """The updates of which a folder has checkpoints, from the newest; they may be damaged."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if re.fullmatch("[1-9][0-9]{0,17}", name))[::-1]


def write_texts(
    folder: Path, progress: TrainingProgress, metrics: MetricsMark, config: str
) -> dict[str, FileDigest]:
    """Write the files of a checkpoint that are text.

    Returns:
      Their digests by name.
    """
    value = {"progress": progress.to_json(), "metrics": metrics._asdict()}
    texts = {PROGRESS: json.dumps(value, indent=1) + "\n", CONFIG: config}
    return {name: write_synced(folder / name, [text.encode()]) for name, text in texts.items()}


def write_checksums(folder: Path, digests: Mapping[str, FileDigest], processes: int) -> None:
    """Write the last file of a checkpoint, and wait until the folder is on the disk."""
    text = _checksums({name: digests[name] for name in sorted(digests)}, processes)
    write_synced(folder / CHECKSUMS, [text])
    sync_folder(folder)


def _checksums(digests: Mapping[str, FileDigest], processes: int) -> bytes:
    files = {name: digest._asdict() for name, digest in digests.items()}
    return (json.dumps(HEAD | {"processes": processes, "files": files}, indent=1) + "\n").encode()


def open_checkpoint(folder: Path) -> SavedCheckpoint:
    """Read a checkpoint, after a comparison of every byte with its checksums.

    The numbers of the arrays stay on the disk until they are used.

    Raises:
      DamagedError: if a file is missing, damaged, or of another version.
      FileNotFoundError: if there is no such folder, perhaps as a newer checkpoint replaced it.
    """
    try:
        digests, processes = _read_checksums(folder)
        texts = {name: _checked_text(folder, name, digests[name]) for name in (PROGRESS, CONFIG)}
        progress, metrics = _read_progress(texts[PROGRESS])
        if str(progress.update) != folder.name:
            raise DamagedError(f"it is the checkpoint of update {progress.update}")
        states = [
            _checked_tensors(folder, name, digests[name]) for name in state_file_names(processes)
        ]
        try:
            leaves = saved_leaves(states)
        except ValueError as error:
            raise DamagedError(str(error)) from None
        return SavedCheckpoint(folder, leaves, progress, metrics, texts[CONFIG].decode())
    except (DamagedError, OSError) as error:
        if not os.path.lexists(folder):
            raise FileNotFoundError(str(folder)) from None
        if not folder.is_dir():
            raise DamagedError("it is not a folder") from None
        if isinstance(error, FileNotFoundError):
            raise DamagedError(f"{Path(error.filename).name} is missing") from None
        if isinstance(error, OSError):
            name = Path(error.filename).name if error.filename else "a file"
            raise DamagedError(f"{name} cannot be read: {error.strerror or error}") from None
        raise


def _read_checksums(folder: Path) -> tuple[dict[str, FileDigest], int]:
    with os.fdopen(open_regular(folder / CHECKSUMS), "rb") as file:
        data = file.read()
    try:
        value = parse_json(data)
    except ValueError:
        raise DamagedError(f"{CHECKSUMS} is damaged") from None
    form = {"format": str, "format_version": int, "processes": int}
    form |= {"files": {...: {"size": int, "sha256": str}}}
    if (reason := form_error(value, form)) is not None:
        raise DamagedError(f"{CHECKSUMS}: {reason}")
    if {key: value[key] for key in HEAD} != HEAD:
        raise DamagedError("it was written in another format, or by another version")
    files = {name: FileDigest(e["size"], e["sha256"]) for name, e in value["files"].items()}
    # No bit of the file is without meaning: only the bytes that were written pass.
    if _checksums(files, value["processes"]) != data:
        raise DamagedError(f"{CHECKSUMS} is damaged")
    wanted = {PROGRESS, CONFIG, *_names(value["processes"])}
    if files.keys() != wanted:
        raise DamagedError(f"{CHECKSUMS} names other files")
    return files, value["processes"]


def _names(processes: int) -> Iterable[str]:
    return state_file_names(processes) if 1 <= processes <= 99_999 else ()


def _checked_text(folder: Path, name: str, expected: FileDigest) -> bytes:
    with os.fdopen(open_regular(folder / name), "rb") as file:
        data = file.read()
    _compare(name, FileDigest(len(data), hashlib.sha256(data).hexdigest()), expected)
    return data


def _checked_tensors(folder: Path, name: str, expected: FileDigest) -> Any:
    with os.fdopen(open_regular(folder / name), "rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        _compare(name, FileDigest(os.fstat(file.fileno()).st_size, digest), expected)
        # The same open file, so that what is used is what was compared.
        try:
            return read_file(map_file(file.fileno()))
        except ValueError as error:
            raise DamagedError(f"{name}: {error}") from None


def _compare(name: str, got: FileDigest, expected: FileDigest) -> None:
    if got.size != expected.size:
        raise DamagedError(f"{name} has {got.size:,} bytes, not {expected.size:,}")
    if got != expected:
        raise DamagedError(f"{name} is damaged: another SHA-256 than when it was written")


def _read_progress(text: bytes) -> tuple[TrainingProgress, MetricsMark]:
    try:
        value = parse_json(text)
        form = {"progress": dict, "metrics": {"lines": int, "size": int, "sha256": str}}
        if (reason := form_error(value, form)) is not None:
            raise ValueError(reason)
        return TrainingProgress.from_json(value["progress"]), MetricsMark(**value["metrics"])
    except (TypeError, ValueError) as error:
        raise DamagedError(f"{PROGRESS}: {error}") from None
