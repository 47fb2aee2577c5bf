"""A point of a group as a run of its own: its lanes' states, records, progress and summary."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.run.bundle import Bundle
from experiments.run.checkpoints import TrainingProgress
from experiments.run.figures import draw_figures
from experiments.run.progress import TIMES
from experiments.run.summary import summarize
from experiments.run.workdir import Workdir
from experiments.sweep.points import Point
from experiments.training.trainer import Trainer


def write_point(
    folder: Path,
    point: Point,
    lanes: slice,
    trainer: Trainer,
    test: dict[str, np.ndarray],
    *,
    command: str,
    figures: bool,
) -> None:
    """Write the workdir of a finished point.

    Args:
      folder: the workdir, which exists and is empty.
      point: the point.
      lanes: its lanes in the group.
      trainer: the group, when its training has ended.
      test: the metrics of all lanes ``[N]`` on test sequences.
      command: the command line for the summary.
      figures: whether to draw the figures.
    """
    total = len(trainer.lanes)
    records = point_records(trainer.workdir.metrics.read(), lanes, trainer.progress)
    progress = point_progress(trainer.progress, lanes, records, total)
    workdir = Workdir(folder)
    with workdir.locked():
        workdir.begin(point.config)
        for record in records:
            workdir.metrics.append(record)
        if progress.update:
            states = jax.tree.map(
                lambda leaf: leaf[lanes], trainer.placement.to_host(trainer.states)
            )
            workdir.checkpoints.save(states, progress)
        summary = summarize(
            point.config,
            progress,
            trainer.updates[lanes],
            {name: values[lanes] for name, values in test.items()},
            trainer.baselines(),
            command,
        )
        summary["group"] = {"lanes": total, "seconds": trainer.progress.seconds}
        summary["figures"] = []
        healthy = np.flatnonzero(trainer.healthy[lanes])
        if figures and len(healthy):
            # The figures show the first seed that has not diverged.
            first = lanes.start + int(healthy[0])
            params = jax.tree.map(
                lambda leaf: leaf[first : lanes.stop], trainer.placement.to_host(trainer.params)
            )
            draw_figures(point.config, params, trainer.data, workdir, summary)
        for lane in range(total)[lanes]:
            _copy_bundle(trainer, lane, folder)
        shutil.copy(trainer.workdir.path / "environment.json", folder)
        workdir.write_summary(summary)


def _copy_bundle(trainer: Trainer, lane: int, folder: Path) -> None:
    """Keep what replays the bad update of a lane that has diverged."""
    bad = trainer.progress.diverged[lane]
    if bad is None:
        return
    bundle = Bundle.of(trainer.workdir.path, trainer.lanes.name(lane), bad["update"])
    if bundle.path.is_dir():
        seed = f"seed {trainer.lanes.seeds[lane]}"
        shutil.copytree(bundle.path, Bundle.of(folder, seed, bad["update"]).path)


def point_progress(
    progress: TrainingProgress, lanes: slice, records: list[dict[str, Any]], total: int
) -> TrainingProgress:
    """The progress of some lanes, with their share of the group's time.

    Args:
      progress: the progress of the group.
      lanes: the lanes.
      records: the records of these lanes.
      total: the number of lanes of the group.

    >>> group = TrainingProgress(update=20, seconds=8.0, stopped_at=[None, 10])
    >>> point = point_progress(group, slice(1, 2), [{"update": 10}], total=2)
    >>> point.update, point.seconds, point.stopped_at
    (10, 4.0, [10])
    """
    fields = {
        field.name: getattr(progress, field.name) for field in dataclasses.fields(TrainingProgress)
    }
    share = len(range(total)[lanes]) / total
    own = {name: value[lanes] for name, value in fields.items() if isinstance(value, list)}
    own |= {name: fields[name] * share for name in TIMES}
    update = records[-1]["update"] if records else 0
    return TrainingProgress(**{**fields, **own, "update": update})


def point_records(
    records: list[dict[str, Any]], lanes: slice, progress: TrainingProgress
) -> list[dict[str, Any]]:
    """The records of metrics.jsonl for some lanes, up to the end of the last of them.

    A lane that stopped, and is not finite on test sequences, ended where it stopped.

    >>> records = [{"update": 10, "loss": [0.3, 0.1]}, {"update": 20, "loss": [0.2, None]}]
    >>> progress = TrainingProgress(stopped_at=[None, 10], diverged=[None, None])
    >>> point_records(records, slice(1, 2), progress)
    [{'update': 10, 'loss': [0.1]}]
    >>> progress.diverged[1] = {"update": 20, "metric": "mse", "value": "nan", "group": None}
    >>> point_records(records, slice(1, 2), progress)
    [{'update': 10, 'loss': [0.1]}]
    """
    ends = [
        stopped if stopped is not None or bad is None else bad["update"]
        for stopped, bad in zip(progress.stopped_at[lanes], progress.diverged[lanes], strict=True)
    ]
    last = None if None in ends else max(end for end in ends if end is not None)
    kept = []
    for record in records:
        kept.append({name: _of_lanes(value, lanes) for name, value in record.items()})
        if last is not None and record["update"] >= last:
            break
    return kept


def _of_lanes(value: Any, lanes: slice) -> Any:
    """The values of some lanes, of lists with a value per lane."""
    if isinstance(value, dict):
        return {name: _of_lanes(each, lanes) for name, each in value.items()}
    return value[lanes] if isinstance(value, list) else value
