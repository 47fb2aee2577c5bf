"""Training as pure functions: one update, many updates in one dispatch, and an evaluation.

All seeds train at once under one `vmap`; a single seed uses the same code.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from experiments.config.schema import Config
from experiments.model import ModelParams, make_model
from experiments.tasks import Split
from experiments.training import keys
from experiments.training.optimizer import make_optimizer
from lstm_jax.types import PRNGKey, PyTree


class TrainState(NamedTuple):
    """The state of one seed between two updates.

    Attributes:
      params: the model's parameters.
      opt_state: the optimizer's state.
      update: updates done so far; it also selects the next batch from the seed's key.
    """

    params: ModelParams
    opt_state: optax.OptState
    update: Int[Array, ""]


class UpdateStats(NamedTuple):
    """Statistics of one update: the loss, and the norm of the gradient before clipping."""

    loss: Float[Array, ""]
    grad_norm: Float[Array, ""]


class TrainFunctions(NamedTuple):
    """The jitted functions of one config; ``N`` is the number of seeds.

    Attributes:
      init: ``() -> states``, a `TrainState` with leaves ``[N, ...]``.
      train_steps: ``(data, states, active [N], updates) -> (states, stats [N, updates])``. The
        input states are donated. The state of an inactive seed does not change.
      evaluate: ``(data, split, params) -> metrics [N]``.
    """

    init: Callable[[], TrainState]
    train_steps: Callable[
        [PyTree, TrainState, Bool[Array, " N"], int], tuple[TrainState, UpdateStats]
    ]
    evaluate: Callable[[PyTree, Split, ModelParams], dict[str, Float[Array, " N"]]]


@functools.cache
def make_train_functions(config: Config) -> TrainFunctions:
    """The pure jitted functions that train and evaluate a config.

    They are cached, so that an equal config in the same process does not compile again.
    """
    task = config.task
    model = make_model(config.model, task)
    optimizer = make_optimizer(config.optimizer, config.train.updates)
    seeds = range(config.seed, config.seed + config.seeds)

    def init(key: PRNGKey) -> TrainState:
        params = model.init(key)
        return TrainState(params, optimizer.init(params), jnp.asarray(0, jnp.int32))

    def train_step(data: PyTree, key: PRNGKey, state: TrainState) -> tuple[TrainState, UpdateStats]:
        k_batch = jax.random.fold_in(key, state.update)
        batch = task.sample(data, "train", k_batch, config.train.batch_size)

        def loss_of(params: ModelParams) -> Float[Array, ""]:
            return task.loss(model.apply(params, batch.inputs, batch.lengths), batch)

        loss, grads = jax.value_and_grad(loss_of)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = cast(ModelParams, optax.apply_updates(state.params, updates))
        stats = UpdateStats(loss, optax.tree.norm(grads))
        return TrainState(params, opt_state, state.update + 1), stats

    def train_steps(
        data: PyTree, keys: PRNGKey, states: TrainState, active: Bool[Array, " N"], updates: int
    ) -> tuple[TrainState, UpdateStats]:
        def train_seed(key: PRNGKey, state: TrainState) -> tuple[TrainState, UpdateStats]:
            return lax.scan(lambda s, _: train_step(data, key, s), state, length=updates)

        def keep_active(new: Array, old: Array) -> Array:
            return jnp.where(active.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        new_states, stats = jax.vmap(train_seed)(keys, states)
        return jax.tree.map(keep_active, new_states, states), stats

    def evaluate(
        data: PyTree, key: PRNGKey, params: ModelParams, split: Split
    ) -> dict[str, Float[Array, " N"]]:
        batch = task.sample(data, split, key, config.eval.sequences)

        def in_parts(array: Array) -> Array:
            if array.ndim == 1:  # lengths [B]
                return array.reshape(-1, config.eval.batch_size)
            length, _, *rest = array.shape
            parts = array.reshape(length, -1, config.eval.batch_size, *rest)
            return jnp.moveaxis(parts, 1, 0)

        def evaluate_seed(params: ModelParams) -> dict[str, Float[Array, ""]]:
            metrics = lax.map(
                lambda part: task.metrics(model.apply(params, part.inputs, part.lengths), part),
                jax.tree.map(in_parts, batch),
            )
            return jax.tree.map(jnp.mean, metrics)

        return jax.vmap(evaluate_seed)(params)

    train_keys = jnp.stack([keys.data_key("train", seed) for seed in seeds])
    init_keys = jnp.stack([keys.init_key(seed) for seed in seeds])
    jitted_init = jax.jit(jax.vmap(init))
    jitted_train_steps = jax.jit(train_steps, static_argnames="updates", donate_argnames="states")
    jitted_evaluate = jax.jit(evaluate, static_argnames="split")
    return TrainFunctions(
        init=lambda: jitted_init(init_keys),
        train_steps=lambda data, states, active, updates: jitted_train_steps(
            data, train_keys, states, active, updates=updates
        ),
        evaluate=lambda data, split, params: jitted_evaluate(
            data, keys.data_key(split, config.seed), params, split=split
        ),
    )
