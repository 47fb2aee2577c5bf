"""Evaluation of a run from its latest checkpoint."""

from typing import NamedTuple

import jax
import numpy as np

from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.run.workdir import Workdir
from experiments.training.data import load_data
from experiments.training.train_step import make_train_functions


class Evaluation(NamedTuple):
    """A run on test sequences.

    Attributes:
      updates: the number of updates done.
      metrics: the metrics of every seed ``[N]``.
      baselines: the task's metric for solutions without memory, on the same sequences.
    """

    updates: int
    metrics: dict[str, np.ndarray]
    baselines: dict[str, float]


def evaluate_run(workdir: Workdir, config: Config) -> Evaluation:
    """Evaluate the latest checkpoint of a run on test sequences.

    Args:
      workdir: the workdir of the run.
      config: the run's config; its task and evaluation settings may differ from those of the
        training.

    Raises:
      UserError: if there is no checkpoint, or too little data.
    """
    data = load_data(config, ["test"])
    # The checkpoint has the shapes of the config that was trained.
    trained = make_train_functions(workdir.config())
    like = jax.eval_shape(trained.init)
    restored = workdir.checkpoints.restore(like) if workdir.checkpoints_path.exists() else None
    if restored is None:
        raise UserError(f"{workdir.path}: has no checkpoint yet")
    states, progress = restored
    params = trained.evaluation_params(states)
    metrics = make_train_functions(config).evaluate(data, "test", params)
    baselines = config.task.baselines(data, "test")
    return Evaluation(progress.update, jax.tree.map(np.asarray, metrics), baselines)
