"""A task of one's own, tried once on shapes before anything is trained."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from experiments.config.components import where
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.model import make_model
from experiments.tasks import Batch, Split, goals
from lstm_jax.types import PyTree


def check_task(config: Config, data: PyTree, batches: Mapping[Split, PyTree]) -> None:
    """Trace the loss and the metrics of a task, compute its baselines, and check what they return.

    Args:
      config: the config with the task.
      data: what it has loaded.
      batches: the shapes of a batch of each split.

    Raises:
      UserError: if the task raises an error, or returns something else than a task does.
    """
    task, model = config.task, make_model(config.model, config.task)
    params = jax.eval_shape(model.init, jax.random.key(0))
    if "test" in batches:
        _check_baselines(config, data)
    for split, batch in batches.items():
        if not isinstance(batch, Batch):
            raise UserError(f"{task.name}: sample must return a Batch; got {type(batch).__name__}")
        training = split == "train"
        # Metrics are of held-out sequences, and of training ones where goals are measured on them.
        measured = not training or config.train.window is not None
        loss: Any = None
        metrics: Any = None
        try:
            outputs = jax.eval_shape(model.apply, params, batch.inputs, batch.lengths)
            if training:
                loss = jax.eval_shape(task.loss, outputs, batch)
            if measured:
                metrics = jax.eval_shape(task.metrics, outputs, batch)
        # The task is one's own, so that it may raise anything.
        except Exception as error:
            raise UserError(f"{task.name}: {where(error)}") from error
        if training and not (_is_number(loss) and jnp.issubdtype(loss.dtype, jnp.floating)):
            raise UserError(f"{task.name}: loss must return one float; got {_kind(loss)}")
        if measured:
            _check_metrics(config, metrics)


def _check_metrics(config: Config, metrics: Mapping[str, PyTree]) -> None:
    task = config.task
    for name in (task.metric, *(m for goal in goals(task).values() for m in goal.metrics)):
        if name not in metrics:
            known = ", ".join(metrics)
            raise UserError(f"{task.name}: metrics has no {name!r}; it has {known}")
    for name, value in metrics.items():
        if not _is_number(value):
            kind = _kind(value)
            raise UserError(f"{task.name}: the metric {name!r} must be one number; got {kind}")


def _check_baselines(config: Config, data: PyTree) -> None:
    task = config.task
    try:
        for name, value in task.baselines(data, "test").items():
            if not isinstance(name, str):
                raise UserError(f"{task.name}: baselines: a name must be a string; got {name!r}")
            float(value)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{task.name}: baselines: {where(error)}") from error


def _is_number(value: PyTree) -> bool:
    return getattr(value, "shape", None) == ()


def _kind(value: PyTree) -> str:
    return f"{value.dtype}{[*value.shape]}" if hasattr(value, "shape") else type(value).__name__
