"""Loading a task's data, with a check that there is enough for the config."""

import functools

import jax

from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.tasks import Split
from experiments.training.keys import data_key
from lstm_jax.types import PyTree


def load_data(config: Config) -> PyTree:
    """Load the data that the task samples from.

    The size of every split is checked now, not after hours of training.

    Raises:
      UserError: if the data is missing, or too small for the config.
    """
    task = config.task
    held_out = config.eval.sequences
    counts: dict[Split, int] = {
        "train": config.train.batch_size,
        "validation": held_out,
        "test": held_out,
    }
    try:
        data = task.load()
        for split, count in counts.items():
            key = data_key(split, config.seed)
            jax.eval_shape(
                functools.partial(task.sample, split=split, batch_size=count), data, key=key
            )
    except ValueError as error:
        raise UserError(str(error)) from None
    return data
