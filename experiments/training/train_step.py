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
from experiments.devices.mesh import Placement
from experiments.model import Model, ModelParams, make_model
from experiments.tasks import Batch, Split, Task
from experiments.training import keys
from experiments.training.lanes import LaneArrays, Lanes
from experiments.training.optimizer import evaluation_params, make_optimizer
from experiments.training.window import Window, advance_window, empty_window, has_stopped
from lstm_jax.types import PyTree

Metrics = dict[str, Float[Array, ""]]


class TrainState(NamedTuple):
    """The state of one lane between two updates.

    Attributes:
      params: the model's parameters.
      opt_state: the optimizer's state.
      update: updates done so far; it also selects the next batch from the lane's key.
      window: the most recent batches, where goals are measured on them.
    """

    params: ModelParams
    opt_state: optax.OptState
    update: Int[Array, ""]
    window: Window | None = None


class UpdateStats(NamedTuple):
    """Statistics of one update.

    Attributes:
      loss: the training loss.
      grad_norm: the norm of the gradient before clipping.
      finite: whether these and all updated parameters are finite.
    """

    loss: Float[Array, ""]
    grad_norm: Float[Array, ""]
    finite: Bool[Array, ""]


class UpdateDetails(NamedTuple):
    """One update with everything in it, to find what is not finite.

    Attributes:
      loss: the training loss.
      grads: the gradient before clipping.
      params: the updated parameters.
    """

    loss: Float[Array, ""]
    grads: ModelParams
    params: ModelParams


class TrainFunctions(NamedTuple):
    """The jitted functions of one config and its ``N`` lanes.

    Attributes:
      lanes: the lanes.
      placement: the devices.
      init: ``() -> states``, a `TrainState` with leaves ``[N, ...]``.
      train_steps: ``(data, states, active [N], updates) -> (states, stats [N, updates])``. The
        input states are donated. The state of an inactive lane does not change, and a lane keeps
        the state before its first update that is not finite, or the one in which the goal to stop
        at was reached on training sequences.
      details: ``(data, states) -> details``, `UpdateDetails` of the next update of every lane.
      evaluation_params: ``states -> params``, those that `evaluate` and the figures use.
      evaluate: ``(data, split, params) -> metrics [N]``.
    """

    lanes: Lanes
    placement: Placement
    init: Callable[[], TrainState]
    train_steps: Callable[
        [PyTree, TrainState, Bool[Array, " N"], int], tuple[TrainState, UpdateStats]
    ]
    details: Callable[[PyTree, TrainState], UpdateDetails]
    evaluation_params: Callable[[TrainState], ModelParams]
    evaluate: Callable[[PyTree, Split, ModelParams], dict[str, Float[Array, " N"]]]


class LaneParts(NamedTuple):
    """What one lane trains; its settings can be tracers."""

    task: Task
    model: Model
    optimizer: optax.GradientTransformation


def make_train_functions(
    config: Config, lanes: Lanes | None = None, placement: Placement | None = None
) -> TrainFunctions:
    """The pure jitted functions that train and evaluate a config.

    The last ones are cached, so that an equal config in the same process does not compile again.

    Args:
      config: the config.
      lanes: the lanes to train; by default the seeds of the config.
      placement: the devices; by default one, whatever the config says.
    """
    lanes = Lanes.of(config) if lanes is None else lanes
    return _cached(config, lanes, placement or Placement.one())


def make_functions(
    config: Config, lanes: Lanes, placement: Placement | None = None
) -> TrainFunctions:
    """`make_train_functions` without its cache."""
    lanes.check(config)
    placement = placement or Placement.one()

    def parts_of(lane: LaneArrays) -> LaneParts:
        own = with_values(config, lane.values)
        return LaneParts(
            own.task,
            placement.model(make_model(own.model, own.task)),
            make_optimizer(own.optimizer, config.train.updates),
        )

    def init(lane: LaneArrays) -> TrainState:
        parts = parts_of(lane)
        params = parts.model.init(keys.init_key(lane.seed))
        window = empty_window(parts.task, config.train)
        return TrainState(params, parts.optimizer.init(params), jnp.asarray(0, jnp.int32), window)

    def update(
        data: PyTree, lane: LaneArrays, state: TrainState
    ) -> tuple[TrainState, UpdateDetails]:
        task, model, optimizer = parts_of(lane)

        def gradient(number: Int[Array, ""]) -> tuple[tuple[Array, Metrics], ModelParams]:
            """Loss, metrics where goals are measured on them, and gradient of one batch."""
            k_batch, k_draws = keys.batch_key(lane.seed, number), keys.draws_key(lane.seed, number)
            batch = task.sample(data, "train", k_batch, config.train.batch_size)
            batch = placement.shard_batch(batch)

            def loss_of(params: ModelParams) -> tuple[Float[Array, ""], Metrics]:
                outputs = placement.outputs(model, params, batch, k_draws)
                metrics = {} if state.window is None else task.metrics(outputs, batch)
                return task.loss(outputs, batch), metrics

            return jax.value_and_grad(loss_of, has_aux=True)(state.params)

        batches = config.train.accumulate
        (loss, metrics), grads = mean_over_batches(gradient, state.update, batches)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = cast(ModelParams, optax.apply_updates(state.params, updates))
        window = state.window
        if window is not None:
            window = advance_window(window, task, metrics, state.update)
        new = TrainState(params, opt_state, state.update + 1, window)
        return new, UpdateDetails(loss, grads, params)

    def train_lane(
        data: PyTree, lane: LaneArrays, state: TrainState, active: Bool[Array, ""], updates: int
    ) -> tuple[TrainState, UpdateStats]:
        def step(
            carry: tuple[TrainState, Bool[Array, ""]], _: None
        ) -> tuple[tuple[TrainState, Bool[Array, ""]], UpdateStats]:
            state, active = carry
            new, details = update(data, lane, state)
            grad_norm = optax.tree.norm(details.grads)
            finite = all_finite((details.loss, grad_norm, details.params))
            # What a lane would do after it has stopped does not count.
            finite |= has_stopped(state.window, config.train)
            active &= finite
            kept = jax.tree.map(lambda a, b: jnp.where(active, a, b), new, state)
            active &= ~has_stopped(kept.window, config.train)
            return (kept, active), UpdateStats(details.loss, grad_norm, finite)

        (state, _), stats = lax.scan(step, (state, active), length=updates)
        return state, stats

    def train_steps(
        data: PyTree, lanes: LaneArrays, states: TrainState, active: Bool[Array, " N"], updates: int
    ) -> tuple[TrainState, UpdateStats]:
        train = functools.partial(train_lane, data, updates=updates)
        return jax.vmap(train)(lanes, states, active)

    def details(data: PyTree, lanes: LaneArrays, states: TrainState) -> UpdateDetails:
        return jax.vmap(lambda lane, state: update(data, lane, state)[1])(lanes, states)

    def evaluate(
        data: PyTree, lanes: LaneArrays, params: ModelParams, split: Split
    ) -> dict[str, Float[Array, " N"]]:
        key = keys.data_key(split, config.seed)

        def evaluate_lane(lane: LaneArrays, params: ModelParams) -> dict[str, Float[Array, ""]]:
            task, model, _ = parts_of(lane)
            batch = task.sample(data, split, key, config.eval.sequences)

            def metrics_of(part: Batch) -> dict[str, Float[Array, ""]]:
                part = placement.shard_batch(part)
                return task.metrics(model.apply(params, part.inputs, part.lengths), part)

            metrics = lax.map(metrics_of, in_parts(batch, config.eval.batch_size))
            return jax.tree.map(jnp.mean, metrics)

        return jax.vmap(evaluate_lane)(lanes, params)

    arrays, whole = placement.replicate(lanes.arrays()), placement.replicated
    shardings = placement.shardings(jax.vmap(init), arrays)
    jitted_init = jax.jit(jax.vmap(init), out_shardings=shardings)
    jitted_train_steps = jax.jit(
        train_steps,
        static_argnames="updates",
        donate_argnames="states",
        out_shardings=(shardings, whole),
    )
    jitted_details = jax.jit(details, out_shardings=whole)
    jitted_evaluate = jax.jit(evaluate, static_argnames="split", out_shardings=whole)
    jitted_params = jax.jit(
        jax.vmap(lambda s: evaluation_params(config.optimizer, s.opt_state, s.params))
    )
    return TrainFunctions(
        lanes=lanes,
        placement=placement,
        init=lambda: jitted_init(arrays),
        train_steps=lambda data, states, active, updates: jitted_train_steps(
            data, arrays, states, active, updates=updates
        ),
        details=lambda data, states: jitted_details(data, arrays, states),
        evaluation_params=jitted_params,
        evaluate=lambda data, split, params: jitted_evaluate(data, arrays, params, split=split),
    )


# Bounded, as every trial of a search and every group of a sweep compiles functions of its own.
_cached = functools.lru_cache(maxsize=16)(make_functions)


def mean_over_batches(
    gradient: Callable[[Int[Array, ""]], PyTree], update: Int[Array, ""], batches: int
) -> PyTree:
    """The mean of losses and gradients over the batches of one update, one batch at a time."""
    first = update * batches
    if batches == 1:
        return gradient(first)

    def add(total: PyTree, number: Int[Array, ""]) -> tuple[PyTree, None]:
        return jax.tree.map(jnp.add, total, gradient(number)), None

    shapes = jax.eval_shape(gradient, first)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, _ = lax.scan(add, zeros, first + jnp.arange(batches))
    return jax.tree.map(lambda leaf: leaf / batches, total)


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether all numbers of a tree are finite."""
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
    return functools.reduce(jnp.logical_and, finite)


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
