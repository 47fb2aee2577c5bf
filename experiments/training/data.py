"""Loading a task's data, with a check that there is enough for the config."""

import functools
from collections.abc import Sequence

import jax

from experiments.config.components import where
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.memory_estimate import check_memory
from experiments.tasks import Split
from experiments.training.keys import data_key
from experiments.training.task_check import check_task
from lstm_jax.types import PyTree


def load_data(
    config: Config,
    splits: Sequence[Split] = ("train", "validation", "test"),
    lanes: int | None = None,
) -> PyTree:
    """Load the data that the task samples from.

    The size of every split, the memory, and a task of one's own are checked now, not after hours
    of training.

    Args:
      config: the config.
      splits: the splits that will be sampled; an evaluation needs no training sequences.
      lanes: number of models that train together; by default the seeds of the config.

    Returns:
      The arrays of the task.

    Raises:
      UserError: if the data is missing or too small for the config, if there is too little memory,
        or a task of one's own raises an error.
    """
    task = config.task
    held_out = config.eval.sequences
    counts: dict[Split, int] = {
        split: config.train.batch_size if split == "train" else held_out for split in splits
    }
    try:
        data = task.load()
        batches: dict[Split, PyTree] = {
            split: jax.eval_shape(
                functools.partial(task.sample, split=split, batch_size=count),
                data,
                key=data_key(split, config.seed),
            )
            for split, count in counts.items()
        }
    except ValueError as error:
        raise UserError(str(error)) from None
    except Exception as error:
        if ":" not in task.name:
            raise
        raise UserError(f"{task.name}: {where(error)}") from error
    if ":" in task.name:
        check_task(config, data, batches)
    check_memory(config, batches, lanes)
    return data
