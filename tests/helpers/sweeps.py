"""A small sweep, and what a finished one has in its files."""

import json
from pathlib import Path
from typing import Any

from experiments.sweep.spec import SweepSpec, read_sweep

SWEEP = """
config:
  task: {name: adding, length: 4}
  model: {hidden_size: 2}
  train: {batch_size: 4, updates: 6, log_every: 2, eval_every: 2, checkpoint_every: 2}
  eval: {sequences: 10, batch_size: 10}
set: {train.stop_when: never}
grid:
  model.hidden_size: [2, 3]
  optimizer.learning_rate: [1.0e-2, 1.0e+30]
"""
"""Two groups of two points, of which one diverges in each."""


def sweep(folder: Path, text: str = SWEEP, **overrides: Any) -> SweepSpec:
    """The sweep of a text, in a file of the folder."""
    path = folder / "sweep.yaml"
    path.write_text(text)
    return read_sweep(path, overrides)


def contents(folder: Path) -> dict[str, Any]:
    """What a finished sweep has to have again after an interruption: all but times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name == "metrics.jsonl" or path.suffix == ".safetensors":
            found[name] = path.read_bytes()
        elif path.name == "summary.json":
            summary = json.loads(path.read_text())
            found[name] = {k: summary[k] for k in ("seeds", "updates", "diverged", "test", "goals")}
    return found
