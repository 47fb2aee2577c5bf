"""The optimizer of a config, made with Optax: clipping, the rule, its schedule, and averages."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from experiments.config.optimizer import OptimizerConfig
from lstm_jax.types import PyTree


def make_optimizer(config: OptimizerConfig, updates: int) -> optax.GradientTransformation:
    """Clip the gradient, apply the rule, and average the weights if the config asks for it.

    Args:
      config: the optimizer section; fields marked as lanes may be traced.
      updates: the number of updates of the training, for the schedule.

    Returns:
      The transformation of one batch's gradient.
    """
    steps: list[optax.GradientTransformation] = []
    if config.clip_value is not None:
        steps.append(optax.clip(config.clip_value))
    if config.clip_norm is not None:
        steps.append(optax.clip_by_global_norm(config.clip_norm))
    steps.append(config.rule(make_schedule(config, updates)))
    chain = optax.chain(*steps)
    if config.average is not None:
        chain = _with_average(chain, config.average)

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        # Optax raises a float decay to an integer count, which strict promotion forbids.
        with jax.numpy_dtype_promotion("standard"):
            return chain.update(updates, state, params)

    return optax.GradientTransformation(chain.init, update)


def make_schedule(config: OptimizerConfig, updates: int) -> Any:
    """The learning rate as a function of the updates done, or as a number if it is constant."""
    peak, last = config.learning_rate, config.final_learning_rate
    warmup = config.warmup_updates
    decay_updates = max(updates - warmup, 1)
    match config.schedule:
        case "constant":
            decayed = optax.constant_schedule(peak)
        case "linear":
            decayed = optax.linear_schedule(peak, last, decay_updates)
        case "cosine":
            decayed = optax.cosine_decay_schedule(peak, decay_updates, alpha=last / peak)
    if not warmup:
        return peak if config.schedule == "constant" else decayed
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), decayed], [warmup])


def depends_on_updates(config: OptimizerConfig) -> bool:
    """Whether the learning rate of an update depends on how many updates there are in all."""
    return config.schedule != "constant"


def evaluation_params(config: OptimizerConfig, opt_state: optax.OptState, params: PyTree) -> PyTree:
    """The weights to evaluate: their moving average if the config asks for one."""
    if config.average is None:
        return params
    assert isinstance(opt_state, AverageState)
    return opt_state.average


class AverageState(NamedTuple):
    """The state of the optimizer, and the moving average of the weights.

    Attributes:
      inner: the state of the optimizer.
      average: the average, in the structure of the weights.
      update: updates done so far.
    """

    inner: optax.OptState
    average: PyTree
    update: Int[Array, ""]


def _with_average(chain: optax.GradientTransformation, decay: Any) -> optax.GradientTransformation:
    """Average the weights: ``a_t = d a_{t-1} + (1 - d) w_t`` with ``d = min(decay, t / (t + 1))``.

    The average is a plain mean until it is as long as the decay, so that it forgets the initial
    weights.
    """

    def init(params: optax.Params) -> AverageState:
        return AverageState(chain.init(params), params, jnp.asarray(0, jnp.int32))

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None
    ) -> tuple[optax.Updates, AverageState]:
        assert params is not None
        updates, inner = chain.update(updates, state.inner, params)
        new = optax.apply_updates(params, updates)
        d = jnp.minimum(decay, state.update / (state.update + 1))
        average = jax.tree.map(
            lambda a, w: (d * a + (1 - d) * w).astype(a.dtype), state.average, new
        )
        return updates, AverageState(inner, average, state.update + 1)

    return optax.GradientTransformation(init, update)
