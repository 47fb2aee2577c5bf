"""Evaluation of a run from its latest checkpoint."""

import jax
import numpy as np

from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.run.workdir import Workdir
from experiments.training.data import load_data
from experiments.training.train_step import make_train_functions


def evaluate_run(workdir: Workdir, config: Config) -> tuple[int, dict[str, np.ndarray]]:
    """Evaluate the latest checkpoint of a run on test sequences.

    Args:
      workdir: the workdir of the run.
      config: the run's config; its task and evaluation settings may differ from those of the
        training.

    Returns:
      The number of updates done, and the metrics of every seed ``[N]``.

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
    return progress.update, jax.tree.map(np.asarray, metrics)
