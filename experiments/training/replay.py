"""The update at which a lane diverged, computed again from its last good state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lstm_jax as lj
from experiments.config.schema import Config
from experiments.model import make_model
from experiments.run.bundle import Bundle
from experiments.training import keys
from experiments.training.data import load_data
from experiments.training.divergence import first_not_finite, gradient_norms
from experiments.training.train_step import TrainState, make_train_functions
from lstm_jax.types import PyTree


class Replay(NamedTuple):
    """An update computed again.

    Attributes:
      loss: its loss.
      gradient_norms: the norm of the gradient of every parameter, before clipping.
      updated: the first updated parameter that is not finite, or None.
      first_step: the first time step with a state or gate that is not finite and its name, or None.
      reproduced: whether it is not finite again.
    """

    loss: float
    gradient_norms: dict[str, float]
    updated: str | None
    first_step: tuple[int, str] | None
    reproduced: bool


def replay(bundle: Bundle) -> Replay:
    """Compute the update of a bundle again.

    Args:
      bundle: the bundle.

    Raises:
      UserError: if the bundle is damaged, or the data is missing.
    """
    config = bundle.config()
    functions, data = make_train_functions(config), load_data(config)
    states = bundle.state(jax.eval_shape(functions.init))
    details = jax.tree.map(lambda leaf: np.asarray(leaf[0]), functions.details(data, states))
    loss, norms = float(details.loss), gradient_norms(details.grads)
    updated = first_not_finite(details.params)
    # The training sums the squares of the gradient in float32.
    overflows = not sum(norm**2 for norm in norms.values()) <= np.finfo(np.float32).max
    return Replay(
        loss,
        norms,
        updated,
        first_bad_step(config, data, jax.tree.map(lambda leaf: leaf[0], states)),
        reproduced=not np.isfinite(loss) or overflows or updated is not None,
    )


def first_bad_step(config: Config, data: PyTree, state: TrainState) -> tuple[int, str] | None:
    """The first time step in the update's sequences with a state or gate that is not finite.

    Args:
      config: the config of one lane.
      data: the data of its task.
      state: the state before the update.

    Returns:
      The step, from 0, and the name of the state or gate; None if all are finite.
    """
    first = int(state.update) * config.train.accumulate
    found = (
        _first_bad_step_of_batch(config, data, state, number)
        for number in range(first, first + config.train.accumulate)
    )
    return min((each for each in found if each is not None), default=None)


def _first_bad_step_of_batch(
    config: Config, data: PyTree, state: TrainState, number: int
) -> tuple[int, str] | None:
    task, model = config.task, make_model(config.model, config.task)
    number %= 2**32  # as in the training, whose numbers have 32 bits
    key = keys.batch_key(config.seed, number)
    batch = task.sample(data, "train", key, config.train.batch_size)
    args: dict[str, Any] = {"lengths": batch.lengths, "key": keys.draws_key(config.seed, number)}
    cell: Any = model.cell
    xs = model.encode(batch.inputs)
    try:
        traced: Any = lj.trace(cell, state.params.cell, xs, **args)._asdict()
    except TypeError:
        # The cell has no gates, or no single steps.
        traced = {"outputs": lj.unroll(cell, state.params.cell, xs, **args)[1]}
    first: tuple[int, str] | None = None
    for path, leaf in jax.tree.leaves_with_path(traced):
        bad = ~jnp.isfinite(leaf).reshape(leaf.shape[0], -1).all(axis=1)
        if bad.any() and (first is None or int(bad.argmax()) < first[0]):
            first = int(bad.argmax()), jax.tree_util.keystr(path, simple=True, separator=".")
    return first
