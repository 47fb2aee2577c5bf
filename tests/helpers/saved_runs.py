"""Folders of runs as a training leaves them, without a training."""

import dataclasses

import jax
import numpy as np

from experiments.config.model import model_config
from experiments.config.optimizer import Adam
from experiments.config.schema import Config, EvalConfig, TrainConfig
from experiments.run.checkpoints import TrainingProgress
from experiments.run.workdir import Workdir
from experiments.tasks import Adding
from experiments.training.train_step import make_train_functions

CONFIG = Config(
    task=Adding(length=6),
    model=model_config(hidden_size=3),
    optimizer=Adam(average=0.9),
    train=TrainConfig(updates=30, log_every=10, eval_every=20, checkpoint_every=20),
    eval=EvalConfig(sequences=12, batch_size=6),
    seed=4,
    seeds=2,
)
RECORDS = [
    {"update": 10, "sequences": 320, "loss": [0.5, 0.4], "grad_norm": [1.0, 2.0]},
    {
        "update": 20,
        "sequences": 640,
        "loss": [0.3, None],
        "grad_norm": [1.5, None],
        "validation": {"mse": [0.2, None]},
    },
]


def save_run(path, config=CONFIG, update=20):
    """Write the config, two records, and a checkpoint of random numbers.

    Args:
      path: the workdir.
      config: the config.
      update: the update of the checkpoint; 0 for none.

    Returns:
      The states in the checkpoint.
    """
    shapes = jax.eval_shape(make_train_functions(config).init)
    rng = np.random.default_rng(0)
    states = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)
    workdir = Workdir.of(path, config)
    with workdir.locked():
        workdir.begin(config)
        for record in RECORDS:
            workdir.metrics.append(record)
        if update:
            progress = dataclasses.replace(TrainingProgress.at_start(config.seeds), update=update)
            workdir.checkpoints.save(states, progress)
    return states
