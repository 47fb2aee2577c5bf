"""Divergence: where the training of a lane is no longer finite, and since when."""

import math
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments.config.schema import Config
from experiments.errors import TrainingFailed
from experiments.run.checkpoints import TrainingProgress
from experiments.training.lanes import Lanes
from experiments.training.train_step import UpdateDetails, UpdateStats
from lstm_jax.param_dict import path_names
from lstm_jax.types import PyTree

SHOWN = 5
"""Most lanes that an error names."""


class Divergence(NamedTuple):
    """What was not finite, and when.

    Attributes:
      update: the update with the first value that is not finite.
      metric: its name: ``loss``, ``grad_norm``, ``params``, or a metric of the task.
      value: the value as text, as JSON has no NaN and no infinity.
      group: the first parameters whose gradient is not finite, or which are not finite themselves;
        None for a metric of the task.

    >>> print(Divergence(7, "loss", "nan", "cell/kernel"))
    loss became nan at update 7, first in cell/kernel
    """

    update: int
    metric: str
    value: str
    group: str | None = None

    def __str__(self) -> str:
        where = f", first in {self.group}" if self.group else ""
        return f"{self.metric} became {self.value} at update {self.update}{where}"


def first_bad_updates(stats: UpdateStats, active: np.ndarray) -> dict[int, int]:
    """The offset of the first update that is not finite, by active lane; most often empty.

    Args:
      stats: statistics ``[N, updates]`` on the host.
      active: the lanes that train ``[N]``.

    >>> finite = np.array([[True, True], [True, False], [False, False]])
    >>> first_bad_updates(UpdateStats(finite, finite, finite), np.array([True, True, False]))
    {1: 1}
    """
    lanes = np.flatnonzero(active & ~stats.finite.all(axis=1))
    return {int(lane): int(stats.finite[lane].argmin()) for lane in lanes}


def divergence_of(update: int, loss: float, grad_norm: float, details: UpdateDetails) -> Divergence:
    """What is not finite in an update.

    Args:
      update: its number, from 1.
      loss: its loss, as the training had it.
      grad_norm: the norm of its gradient, as the training had it.
      details: the same update of this lane, computed again.
    """
    group = first_not_finite(details.grads) or first_not_finite(details.params)
    if group is None:
        # The sum of the squares has overflowed.
        norms = gradient_norms(details.grads)
        group = max(norms, key=lambda name: norms[name])
    if not math.isfinite(loss):
        return Divergence(update, "loss", f"{loss}", group)
    if not math.isfinite(grad_norm):
        return Divergence(update, "grad_norm", f"{grad_norm}", group)
    return Divergence(update, "params", "not finite", group)


def first_bad_metrics(
    metrics: dict[str, np.ndarray], active: np.ndarray, update: int
) -> dict[int, Divergence]:
    """The first metric that is not finite, by active lane.

    >>> metrics = {"mse": np.array([0.1, np.inf])}
    >>> first_bad_metrics(metrics, np.array([True, True]), 20)[1].value
    'inf'
    """
    found: dict[int, Divergence] = {}
    for name, values in metrics.items():
        for lane in np.flatnonzero(~np.isfinite(values) & active):
            found.setdefault(int(lane), Divergence(update, name, f"{values[lane]}"))
    return found


def gradient_norms(grads: PyTree) -> dict[str, float]:
    """The norm of the gradient of every parameter, by name.

    >>> gradient_norms({"kernel": np.array([3.0, 4.0])})
    {'kernel': 5.0}
    """
    return {
        "/".join(path_names(path)): float(np.linalg.norm(np.asarray(leaf, np.float64)))
        for path, leaf in jax.tree.leaves_with_path(grads)
    }


def first_not_finite(tree: PyTree) -> str | None:
    """The name of the first array with a number that is not finite, or None.

    >>> first_not_finite({"bias": np.zeros(2), "kernel": np.array([0.0, np.nan])})
    'kernel'
    """
    for path, leaf in jax.tree.leaves_with_path(tree):
        if not np.isfinite(np.asarray(leaf, np.float64)).all():
            return "/".join(path_names(path))
    return None


def failure(
    config: Config, lanes: Lanes, progress: TrainingProgress, workdir: Path
) -> TrainingFailed:
    """The error of a run of which all lanes have diverged: what happened, and what to try."""
    events = [
        f"{lanes.name(lane)}: {Divergence(**bad)}"
        for lane, bad in enumerate(progress.diverged)
        if bad is not None
    ]
    events[SHOWN:] = [f"and {len(events) - SHOWN} more"] if len(events) > SHOWN else []
    advice = f"a lower optimizer.learning_rate than {config.optimizer.learning_rate:g}"
    if config.optimizer.clip_norm is None:
        advice += ", or optimizer.clip_norm 1"
    if progress.update:
        events.append(f"earlier metrics and checkpoints stay in {workdir}")
        advice += ", with another --workdir"
    replay = f"python -m experiments replay {workdir}"
    return TrainingFailed(
        f"diverged: {'; '.join(events)}. Try {advice}. See where it begins: {replay}"
    )
