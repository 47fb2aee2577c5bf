"""Whether two runs are equal bit for bit."""

from pathlib import Path
from typing import Any

from experiments.run.checkpoint_folder import checkpoint_updates, open_checkpoint
from experiments.run.read_file import read_json, read_regular
from experiments.run.state_files import whole_array

TIME_FIELDS = ("seconds", "compile_seconds", "updates_per_second", "python_share", "times")
"""Entries of summary.json that differ between equal runs."""


def run_differences(first: Path, second: Path) -> list[str]:
    """What differs between two runs, apart from the time that they took.

    Compared are, bit for bit: the parameters and the optimizer's state in the newest checkpoint,
    the progress and the config there, metrics.jsonl, and summary.json. Left out are the times in
    the progress and in the summary (`TIME_FIELDS`), environment.json and the figures.

    Args:
      first: the workdir of a run.
      second: another one.

    Returns:
      Names of what differs; empty for a run that was killed and resumed, and one that was not.

    Raises:
      DamagedError: if the newest checkpoint of one is damaged.
      UserError: if summary.json of one cannot be read.
      OSError: if one has no metrics.jsonl or no checkpoint.
    """
    a, b = _content(first), _content(second)
    missing = object()
    return [
        name for name in dict.fromkeys([*a, *b]) if a.get(name, missing) != b.get(name, missing)
    ]


def _content(path: Path) -> dict[str, Any]:
    """What is compared of a run, by name."""
    updates = checkpoint_updates(path / "checkpoints")
    saved = open_checkpoint(path / "checkpoints" / str(updates[0] if updates else 0))
    content: dict[str, Any] = {
        name: (leaf.key_impl, leaf.dtype, leaf.shape, whole_array(leaf).tobytes())
        for name, leaf in saved.leaves.items()
    }
    progress = {k: v for k, v in saved.progress.to_json().items() if k != "times"}
    summary = read_json(path / "summary.json", {}) or {}
    return (
        content
        | {f"progress {key}": value for key, value in progress.items()}
        | {"config.yaml": saved.config, "metrics.jsonl": read_regular(path / "metrics.jsonl")}
        | {f"summary {k}": v for k, v in summary.items() if k not in TIME_FIELDS}
    )
