"""Trainings that take milliseconds: their configs, read as a config file is, without figures."""

import tempfile
from pathlib import Path
from typing import Any

from experiments.config.file import load_config
from experiments.config.schema import Config

SMALL = """\
task: {name: adding, length: 6}
model: {hidden_size: 3}
train: {batch_size: 4, updates: 30, log_every: 10, eval_every: 10, checkpoint_every: 10,
        stop_when: never}
eval: {sequences: 20, batch_size: 10}
"""


def small_config(fields: dict[str, Any] | None = None) -> Config:
    """A small config with other values in some fields, by their dotted names."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.yaml"
        path.write_text(SMALL)
        return load_config(path, fields or {})


def no_figures(config: Any, params: Any, data: Any, workdir: Any, summary: dict[str, Any]) -> None:
    """In place of `draw_figures`, which takes seconds."""
    del config, params, data, workdir
    summary["figures"] = []
