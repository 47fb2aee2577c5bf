"""Goals measured on the training itself: on its most recent sequences, each before its update."""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from experiments.config.schema import TrainConfig
from experiments.tasks import Task, goals


class Window(NamedTuple):
    """Metrics of the most recent batches of a lane, and when they reached the goals.

    Attributes:
      metrics: by name, the values of the last ``W`` updates ``[W]``, in a ring; NaN before the
        first W, so that no goal is reached then.
      reached_at: by name of the goal, the update after which it was first reached; 0 before.
    """

    metrics: dict[str, Float[Array, " W"]]
    reached_at: dict[str, Int[Array, ""]]


def empty_window(task: Task, train: TrainConfig) -> Window | None:
    """The window before the first update; None if goals are measured on held-out sequences.

    >>> from experiments.tasks import Adding
    >>> empty_window(Adding(), TrainConfig(batch_size=1, window=3)).metrics["mse"].shape
    (3,)
    """
    if train.window is None:
        return None
    length = train.window // train.sequences_per_update
    names = {name for goal in goals(task).values() for name in goal.metrics}
    return Window(
        {name: jnp.full(length, jnp.nan) for name in sorted(names)},
        {name: jnp.asarray(0, jnp.int32) for name in goals(task)},
    )


def advance_window(
    window: Window, task: Task, metrics: Mapping[str, Float[Array, ""]], update: Int[Array, ""]
) -> Window:
    """The window after an update.

    Args:
      window: the window before.
      task: the task, which has the goals.
      metrics: the metrics of the batch, before the update.
      update: updates done before this one.
    """
    rings = {
        name: ring.at[update % ring.shape[0]].set(metrics[name])
        for name, ring in window.metrics.items()
    }
    means = {name: jnp.mean(ring) for name, ring in rings.items()}
    reached_at = {
        name: jnp.where((at == 0) & goals(task)[name].reached(means), update + 1, at)
        for name, at in window.reached_at.items()
    }
    return Window(rings, reached_at)


def has_stopped(window: Window | None, train: TrainConfig) -> Bool[Array, ""]:
    """Whether the goal of ``stop_when`` has been reached on the training sequences."""
    if window is None or train.stop_when == "never":
        return jnp.asarray(False)
    return window.reached_at[train.stop_when] > 0
