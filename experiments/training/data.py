"""Loading a task's data, with a check that there is enough for the config."""

import functools
from collections.abc import Sequence

import jax

from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.tasks import Split
from experiments.training.keys import data_key
from lstm_jax.types import PyTree


def load_data(config: Config, splits: Sequence[Split] = ("train", "validation", "test")) -> PyTree:
    """Load the data that the task samples from.

    The size of every split is checked now, not after hours of training.

    Args:
      config: the config.
      splits: the splits that will be sampled; an evaluation needs no training sequences.

    Raises:
      UserError: if the data is missing, or too small for the config.
    """
    task = config.task
    held_out = config.eval.sequences
    counts: dict[Split, int] = {
        split: config.train.batch_size if split == "train" else held_out for split in splits
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
