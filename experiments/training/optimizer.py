"""The optimizer of a config: gradient clipping, schedule and update rule."""

import jax
import optax

from experiments.config.schema import OptimizerConfig
from lstm_jax.types import PyTree


def make_optimizer(config: OptimizerConfig, updates: int) -> optax.GradientTransformation:
    """Clipping by the global norm, then Adam or RMSprop with the scheduled learning rate.

    Args:
      config: the settings.
      updates: the number of updates, which is the length of the schedule.
    """
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
        # Optax raises a float decay to an integer count, which strict promotion forbids.
        with jax.numpy_dtype_promotion("standard"):
            return chain.update(updates, state, params)

    return optax.GradientTransformation(chain.init, update)


def depends_on_updates(config: OptimizerConfig) -> bool:
    """Whether the learning rate of an update depends on how many updates there are in all."""
    return config.schedule != "constant"


def evaluation_params(config: OptimizerConfig, opt_state: optax.OptState, params: PyTree) -> PyTree:
    """The parameters for evaluation: those of the training."""
    del config, opt_state
    return params
