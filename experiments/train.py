"""Training as pure functions: a step, many steps in one dispatch, an evaluation.

Everything runs for all seeds at once under one `vmap`; one seed is the same code.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from experiments import keys
from experiments.config import Config, OptimizerConfig
from experiments.model import ModelParams, make_model
from experiments.tasks import Split
from lstm_jax.types import PRNGKey, PyTree


class TrainState(NamedTuple):
    """What training carries from one update to the next.

    Attributes:
      params: the model's parameters.
      opt_state: the optimizer's state.
      update: updates done so far; also picks the next batch from the seed's key.
    """

    params: ModelParams
    opt_state: optax.OptState
    update: Int[Array, ""]


class Stats(NamedTuple):
    """What one update tells: its loss, and the norm of its gradient before clipping."""

    loss: Float[Array, ""]
    grad_norm: Float[Array, ""]


class Training(NamedTuple):
    """The jitted functions of one config; ``N`` is the number of seeds.

    Attributes:
      init: ``() -> states``, a `TrainState` with leaves ``[N, ...]``.
      run: ``(data, states, active [N], updates) -> (states, stats [N, updates])``. The states
        given are donated. A seed that is not active stays as it is.
      evaluate: ``(data, split, params) -> metrics [N]``.
    """

    init: Callable[[], TrainState]
    run: Callable[[PyTree, TrainState, Bool[Array, " N"], int], tuple[TrainState, Stats]]
    evaluate: Callable[[PyTree, Split, ModelParams], dict[str, Float[Array, " N"]]]


@functools.cache
def make_training(config: Config) -> Training:
    """The training that a config describes, as pure jitted functions.

    They are kept, so that the same config again in one process compiles nothing again.
    """
    task = config.task
    model = make_model(config.model, task)
    optimizer = make_optimizer(config.optimizer, config.train.updates)
    seeds = range(config.seed, config.seed + config.seeds)

    def init(key: PRNGKey) -> TrainState:
        params = model.init(key)
        return TrainState(params, optimizer.init(params), jnp.asarray(0, jnp.int32))

    def step(data: PyTree, key: PRNGKey, state: TrainState) -> tuple[TrainState, Stats]:
        k_batch = jax.random.fold_in(key, state.update)
        batch = task.sample(data, "train", k_batch, config.train.batch_size)

        def loss_of(params: ModelParams) -> Float[Array, ""]:
            return task.loss(model.apply(params, batch.inputs), batch)

        loss, grads = jax.value_and_grad(loss_of)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = cast(ModelParams, optax.apply_updates(state.params, updates))
        stats = Stats(loss, optax.tree.norm(grads))
        return TrainState(params, opt_state, state.update + 1), stats

    def run(
        data: PyTree, keys: PRNGKey, states: TrainState, active: Bool[Array, " N"], updates: int
    ) -> tuple[TrainState, Stats]:
        def run_seed(key: PRNGKey, state: TrainState) -> tuple[TrainState, Stats]:
            return lax.scan(lambda s, _: step(data, key, s), state, length=updates)

        def keep_active(new: Array, old: Array) -> Array:
            return jnp.where(active.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        new_states, stats = jax.vmap(run_seed)(keys, states)
        return jax.tree.map(keep_active, new_states, states), stats

    def evaluate(
        data: PyTree, key: PRNGKey, params: ModelParams, split: Split
    ) -> dict[str, Float[Array, " N"]]:
        batch = task.sample(data, split, key, config.eval.sequences)

        def in_parts(array: Array) -> Array:
            length, _, *rest = array.shape
            parts = array.reshape(length, -1, config.eval.batch_size, *rest)
            return jnp.moveaxis(parts, 1, 0)

        def evaluate_seed(params: ModelParams) -> dict[str, Float[Array, ""]]:
            metrics = lax.map(
                lambda part: task.metrics(model.apply(params, part.inputs), part),
                jax.tree.map(in_parts, batch),
            )
            return jax.tree.map(jnp.mean, metrics)

        return jax.vmap(evaluate_seed)(params)

    train_keys = jnp.stack([keys.data_key("train", seed) for seed in seeds])
    init_keys = jnp.stack([keys.init_key(seed) for seed in seeds])
    jitted_init = jax.jit(jax.vmap(init))
    jitted_run = jax.jit(run, static_argnames="updates", donate_argnames="states")
    jitted_evaluate = jax.jit(evaluate, static_argnames="split")
    return Training(
        init=lambda: jitted_init(init_keys),
        run=lambda data, states, active, updates: jitted_run(
            data, train_keys, states, active, updates=updates
        ),
        evaluate=lambda data, split, params: jitted_evaluate(
            data, keys.data_key(split, config.seed), params, split=split
        ),
    )


def make_optimizer(config: OptimizerConfig, updates: int) -> optax.GradientTransformation:
    """Clip by the global norm, then Adam or RMSprop at the scheduled learning rate."""
    peak, warmup = config.learning_rate, config.warmup_updates
    match config.schedule:
        case "constant":
            schedule = optax.constant_schedule(peak)
        case "cosine":
            schedule = optax.cosine_decay_schedule(peak, updates - warmup)
    if warmup:
        rise = optax.linear_schedule(0.0, peak, warmup)
        schedule = optax.join_schedules([rise, schedule], [warmup])
    match config.name:
        case "adam":
            rule = optax.adam(schedule, b1=config.b1, b2=config.b2)
        case "rmsprop":
            rule = optax.rmsprop(schedule, decay=config.b2)
    norm = config.clip_norm
    clip = optax.identity() if norm is None else optax.clip_by_global_norm(norm)
    chain = optax.chain(clip, rule)

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        # Optax raises a float decay to an integer count, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            return chain.update(updates, state, params)

    return optax.GradientTransformation(chain.init, update)
