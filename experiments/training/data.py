"""Loading a task's data, with a check that there is enough for the config."""

import functools
from collections.abc import Sequence

import jax

from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.memory_estimate import check_memory
from experiments.tasks import Split
from experiments.training.keys import data_key
from lstm_jax.types import PyTree


def load_data(
    config: Config,
    splits: Sequence[Split] = ("train", "validation", "test"),
    lanes: int | None = None,
) -> PyTree:
    """Load the data that the task samples from.

    The size of every split and the memory are checked now, not after hours of training.

    Args:
      config: the config.
      splits: the splits that will be sampled; an evaluation needs no training sequences.
      lanes: number of models that train together; by default the seeds of the config.

    Returns:
      The arrays of the task.

    Raises:
      UserError: if the data is missing or too small for the config, or there is too little memory.
    """
    task = config.task
    held_out = config.eval.sequences
    counts = {split: config.train.batch_size if split == "train" else held_out for split in splits}
    try:
        data = task.load()
        batches = {
            split: jax.eval_shape(
                functools.partial(task.sample, split=split, batch_size=count),
                data,
                key=data_key(split, config.seed),
            )
            for split, count in counts.items()
        }
    except ValueError as error:
        raise UserError(str(error)) from None
    if "train" in batches:
        check_memory(config, batches["train"], batches["test"], lanes)
    return data
