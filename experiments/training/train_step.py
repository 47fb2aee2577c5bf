"""Training as pure functions: one update, many updates in one dispatch, and an evaluation.

All lanes train at once under one `vmap`; a single one uses the same code.
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
from experiments.config.values import with_values
from experiments.model import Model, ModelParams, make_model
from experiments.tasks import Batch, Split, Task
from experiments.training import keys
from experiments.training.lanes import LaneArrays, Lanes
from experiments.training.optimizer import evaluation_params, make_optimizer
from lstm_jax.types import PyTree


class TrainState(NamedTuple):
    """The state of one lane between two updates.

    Attributes:
      params: the model's parameters.
      opt_state: the optimizer's state.
      update: updates done so far; it also selects the next batch from the lane's key.
    """

    params: ModelParams
    opt_state: optax.OptState
    update: Int[Array, ""]


class UpdateStats(NamedTuple):
    """Statistics of one update: the loss, and the norm of the gradient before clipping."""

    loss: Float[Array, ""]
    grad_norm: Float[Array, ""]


class TrainFunctions(NamedTuple):
    """The jitted functions of one config and its ``N`` lanes.

    Attributes:
      lanes: the lanes.
      init: ``() -> states``, a `TrainState` with leaves ``[N, ...]``.
      train_steps: ``(data, states, active [N], updates) -> (states, stats [N, updates])``. The
        input states are donated. The state of an inactive lane does not change.
      evaluation_params: ``states -> params``, those that `evaluate` and the figures use.
      evaluate: ``(data, split, params) -> metrics [N]``.
    """

    lanes: Lanes
    init: Callable[[], TrainState]
    train_steps: Callable[
        [PyTree, TrainState, Bool[Array, " N"], int], tuple[TrainState, UpdateStats]
    ]
    evaluation_params: Callable[[TrainState], ModelParams]
    evaluate: Callable[[PyTree, Split, ModelParams], dict[str, Float[Array, " N"]]]


class LaneParts(NamedTuple):
    """What one lane trains; its settings can be tracers."""

    task: Task
    model: Model
    optimizer: optax.GradientTransformation


def make_train_functions(config: Config, lanes: Lanes | None = None) -> TrainFunctions:
    """The pure jitted functions that train and evaluate a config.

    They are cached, so that an equal config in the same process does not compile again.

    Args:
      config: the config.
      lanes: the lanes to train; by default the seeds of the config.
    """
    return _cached(config, Lanes.of(config) if lanes is None else lanes)


def make_functions(config: Config, lanes: Lanes) -> TrainFunctions:
    """`make_train_functions` without its cache."""
    lanes.check(config)

    def parts_of(lane: LaneArrays) -> LaneParts:
        own = with_values(config, lane.values)
        return LaneParts(
            own.task,
            make_model(own.model, own.task),
            make_optimizer(own.optimizer, config.train.updates),
        )

    def init(lane: LaneArrays) -> TrainState:
        parts = parts_of(lane)
        params = parts.model.init(keys.init_key(lane.seed))
        return TrainState(params, parts.optimizer.init(params), jnp.asarray(0, jnp.int32))

    def train_step(
        data: PyTree, lane: LaneArrays, state: TrainState
    ) -> tuple[TrainState, UpdateStats]:
        task, model, optimizer = parts_of(lane)
        k_batch = jax.random.fold_in(keys.data_key("train", lane.seed), state.update)
        k_draws = jax.random.fold_in(keys.draws_key(lane.seed), state.update)
        batch = task.sample(data, "train", k_batch, config.train.batch_size)

        def loss_of(params: ModelParams) -> Float[Array, ""]:
            outputs = model.apply(params, batch.inputs, batch.lengths, key=k_draws)
            return task.loss(outputs, batch)

        loss, grads = jax.value_and_grad(loss_of)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = cast(ModelParams, optax.apply_updates(state.params, updates))
        stats = UpdateStats(loss, optax.tree.norm(grads))
        return TrainState(params, opt_state, state.update + 1), stats

    def train_steps(
        data: PyTree, lanes: LaneArrays, states: TrainState, active: Bool[Array, " N"], updates: int
    ) -> tuple[TrainState, UpdateStats]:
        def train_lane(lane: LaneArrays, state: TrainState) -> tuple[TrainState, UpdateStats]:
            return lax.scan(lambda s, _: train_step(data, lane, s), state, length=updates)

        def keep_active(new: Array, old: Array) -> Array:
            return jnp.where(active.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        new_states, stats = jax.vmap(train_lane)(lanes, states)
        return jax.tree.map(keep_active, new_states, states), stats

    def evaluate(
        data: PyTree, lanes: LaneArrays, params: ModelParams, split: Split
    ) -> dict[str, Float[Array, " N"]]:
        key = keys.data_key(split, config.seed)

        def evaluate_lane(lane: LaneArrays, params: ModelParams) -> dict[str, Float[Array, ""]]:
            task, model, _ = parts_of(lane)
            batch = task.sample(data, split, key, config.eval.sequences)
            metrics = lax.map(
                lambda part: task.metrics(model.apply(params, part.inputs, part.lengths), part),
                in_parts(batch, config.eval.batch_size),
            )
            return jax.tree.map(jnp.mean, metrics)

        return jax.vmap(evaluate_lane)(lanes, params)

    arrays = lanes.arrays()
    jitted_init = jax.jit(jax.vmap(init))
    jitted_train_steps = jax.jit(train_steps, static_argnames="updates", donate_argnames="states")
    jitted_evaluate = jax.jit(evaluate, static_argnames="split")
    jitted_params = jax.jit(
        jax.vmap(lambda state: evaluation_params(config.optimizer, state.opt_state, state.params))
    )
    return TrainFunctions(
        lanes=lanes,
        init=lambda: jitted_init(arrays),
        train_steps=lambda data, states, active, updates: jitted_train_steps(
            data, arrays, states, active, updates=updates
        ),
        evaluation_params=jitted_params,
        evaluate=lambda data, split, params: jitted_evaluate(data, arrays, params, split=split),
    )


_cached = functools.cache(make_functions)


def in_parts(batch: Batch, size: int) -> Batch:
    """A batch in parts of `size` sequences, as a new first axis of every array."""

    def of_sequences(array: Array, axis: int) -> Array:
        shape = array.shape
        parts = array.reshape(*shape[:axis], -1, size, *shape[axis + 1 :])
        return jnp.moveaxis(parts, axis, 0)

    return Batch(
        inputs=of_sequences(batch.inputs, 1),
        targets=jax.tree.map(lambda array: of_sequences(array, 1), batch.targets),
        lengths=None if batch.lengths is None else of_sequences(batch.lengths, 0),
    )
