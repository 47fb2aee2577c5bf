"""What a training costs beyond its jitted updates: ``python -m experiments.training.overhead``.

Two copies of a run take turns: bare updates, each a gradient and a step of the optimizer, and the
`Trainer` with its metrics and checkpoints. Evaluations are left out: they compute what was asked.
"""

import dataclasses
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import jax
import optax
from jax import lax

from experiments.config.file import load_config
from experiments.config.schema import Config
from experiments.model import ModelParams, make_model
from experiments.run.workdir import Workdir
from experiments.training import keys
from experiments.training.data import load_data
from experiments.training.optimizer import make_optimizer
from experiments.training.train_step import TrainState, make_train_functions
from experiments.training.trainer import Trainer
from lstm_jax.types import PyTree


def bare_updates(config: Config, data: PyTree) -> Callable[[TrainState, int], TrainState]:
    """The jitted updates of a config without anything around them."""
    task = config.task
    model, optimizer = (
        make_model(config.model, task),
        make_optimizer(config.optimizer, config.train.updates),
    )

    def update(state: TrainState, _: None) -> tuple[TrainState, jax.Array]:
        key = keys.batch_key(config.seed, state.update)
        batch = task.sample(data, "train", key, config.train.batch_size)
        loss, grads = jax.value_and_grad(
            lambda params: task.loss(model.apply(params, batch.inputs, batch.lengths), batch)
        )(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = cast(ModelParams, optax.apply_updates(state.params, updates))
        return TrainState(params, opt_state, state.update + 1), loss

    @functools.partial(jax.jit, static_argnums=1, donate_argnums=0)
    def many(state: TrainState, updates: int) -> tuple[TrainState, jax.Array]:
        return lax.scan(update, state, length=updates)

    return lambda state, updates: jax.block_until_ready(many(state, updates))[0]


def overhead(config: Config, updates: int, rounds: int, clock: Callable[[], float]) -> list[float]:
    """The time of the `Trainer` over that of bare updates, once per round.

    Args:
      config: the config; its evaluations are left out.
      updates: updates in each turn, a multiple of its ``checkpoint_every`` to have its share of
        checkpoints.
      rounds: the number of turns of each.
      clock: `time.perf_counter`, or `time.process_time` on a CPU that others use too.
    """
    train = dataclasses.replace(
        config.train, updates=10**9, eval_every=10**6 * config.train.log_every
    )
    config = dataclasses.replace(config, train=train)
    data, functions = load_data(config), make_train_functions(config)
    bare, log_every = bare_updates(config, data), train.log_every
    state = jax.tree.map(lambda leaf: leaf[0], functions.init())
    with tempfile.TemporaryDirectory() as folder:
        workdir = Workdir.of(Path(folder), config)
        with workdir.locked():
            workdir.begin(config)
            trainer = Trainer(config, workdir, functions, data)

            def train_bare() -> None:
                nonlocal state
                for _ in range(updates // log_every):
                    state = bare(state, log_every)

            def train_run() -> None:
                for _ in range(updates // log_every):
                    trainer.advance(lambda *_: None)

            for turn in (train_bare, train_run):
                turn()
            ratios = []
            for i in range(rounds):
                turns = (train_bare, train_run) if i % 2 == 0 else (train_run, train_bare)
                seconds = {turn: _seconds(turn, clock) for turn in turns}
                ratios.append(seconds[train_run] / seconds[train_bare])
    return ratios


def _seconds(call: Callable[[], None], clock: Callable[[], float]) -> float:
    began = clock()
    call()
    return clock() - began


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "configs/adding.yaml")
    config = load_config(path)
    # On a CPU, the time that other programs take is left out.
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    ratios = overhead(config, config.train.checkpoint_every, rounds=5, clock=clock)
    print(f"{path}: {statistics.median(ratios):.3f} times the bare updates;", end=" ")
    print("rounds: " + ", ".join(f"{ratio:.3f}" for ratio in sorted(ratios)))
