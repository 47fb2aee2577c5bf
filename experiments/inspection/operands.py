"""The two operands of the adding task over training: which of them the answers depend on.

Always answering 1 has a mean squared error of 1/6, the variance of the sum. A network that knows
one of the two numbers and answers with it plus 1/2 has 1/12: its answers correlate perfectly with
that number, and not with the other. The sum correlates with each by ``1 / sqrt(2)``.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.figure import Figure

from experiments.config.schema import Config
from experiments.model import ModelParams, make_model
from experiments.tasks.adding import Adding
from experiments.tasks.figure_style import (
    BLUE,
    GREY,
    ORANGE,
    legend_beside,
    reference_style,
    seed_colour,
)
from experiments.tasks.task import Batch
from experiments.training.data import load_data
from experiments.training.keys import data_key
from experiments.training.train_step import make_train_functions


class OperandCurves(NamedTuple):
    """What the answers of ``N`` seeds depend on, at ``K`` updates.

    Attributes:
      updates: the updates ``[K]``.
      mse: the mean squared error on held-out sequences ``[K, N]``.
      first: correlation of the answer with the first marked number ``[K, N]``.
      second: correlation with the second ``[K, N]``.
    """

    updates: Int[np.ndarray, " K"]
    mse: Float[np.ndarray, "K N"]
    first: Float[np.ndarray, "K N"]
    second: Float[np.ndarray, "K N"]


def follow_operands(
    config: Config, updates: int, every: int = 20, sequences: int = 1000
) -> OperandCurves:
    """Train a config on the adding task, and measure its answers as it goes.

    The training is that of the config, batch for batch, without its stop at a goal.

    Args:
      config: the config.
      updates: updates to train.
      every: updates between two measurements.
      sequences: number of held-out sequences.

    Returns:
      The measurements, the first before any update.

    Raises:
      ValueError: if the task is not adding, or no measurement fits into the updates.
    """
    task = config.task
    if not isinstance(task, Adding):
        raise ValueError(f"follow_operands: the task must be adding; got {task.name}")
    if not 1 <= every <= updates:
        raise ValueError(f"follow_operands: every must be from 1 to {updates}; got {every}")
    functions, data = make_train_functions(config), load_data(config)
    model = make_model(config.model, task)
    batch = task.sample((), "test", data_key("test", config.seed), sequences)
    operands = operands_of(batch)

    @jax.jit
    def measure(params: ModelParams) -> Float[Array, "3 N"]:
        def of_seed(params: ModelParams) -> Float[Array, " 3"]:
            answers = task.answers(model.apply(params, batch.inputs))[0]
            error = jnp.mean(jnp.square(answers - batch.targets[0]))
            return jnp.stack([error, *(_correlation(answers, one) for one in operands)])

        return jax.lax.map(of_seed, params).T

    states = functions.init()
    active = jnp.ones(config.seeds, bool)
    at, measured = [0], [measure(functions.evaluation_params(states))]
    for update in range(every, updates + 1, every):
        states, _ = functions.train_steps(data, states, active, every)
        at.append(update)
        measured.append(measure(functions.evaluation_params(states)))
    found = np.asarray(measured, np.float64)
    return OperandCurves(np.array(at), found[:, 0], found[:, 1], found[:, 2])


def operands_of(batch: Batch) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """The numbers that are marked first and second in each sequence of the adding task."""
    values, marks = jnp.moveaxis(batch.inputs, -1, 0)
    earlier = jnp.cumsum(marks, axis=0) - marks
    first, second = (jnp.sum(values * marks, axis=0, where=earlier == k) for k in (0, 1))
    return first, second


def draw_operands(curves: OperandCurves, title: str, first_seed: int = 0) -> Figure:
    """Draw the error of every seed, and the correlation of its answers with each operand.

    Args:
      curves: the measurements.
      title: what was trained.
      first_seed: the first of the seeds, for the legend.
    """
    figure = Figure(figsize=(10.0, 6.0), layout="constrained", dpi=110)
    top, bottom = figure.subplots(2, 1, sharex=True)
    count = curves.mse.shape[1]
    for i in range(count):
        colour = seed_colour(i, count)
        top.plot(
            curves.updates,
            curves.mse[:, i],
            color=colour,
            linewidth=1.3,
            label=f"seed {first_seed + i}",
        )
        bottom.plot(curves.updates, curves.first[:, i], color=ORANGE, linewidth=1.0, alpha=0.8)
        bottom.plot(curves.updates, curves.second[:, i], color=BLUE, linewidth=1.0, alpha=0.8)
    for i, (name, value) in enumerate(Adding().baselines((), "test").items()):
        top.axhline(value, **reference_style(i), label=f"{name}: {value:.4g}")
    top.axhline(
        Adding.solved.threshold, color=GREY, linewidth=1, label=f"solved: {Adding.solved}", zorder=1
    )
    bottom.plot([], [], color=ORANGE, label="first number")
    bottom.plot([], [], color=BLUE, label="second number")
    bottom.axhline(math.sqrt(0.5), **reference_style(0), label="of the sum itself: 0.707")
    top.set(yscale="log", ylabel="mse, held-out", title=title)
    bottom.set(xlabel="updates", ylabel="correlation of\nthe answer with", ylim=(-0.3, 1.05))
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(left=0)
        legend_beside(axes)
    return figure


def _correlation(x: Float[Array, " B"], y: Float[Array, " B"]) -> Float[Array, ""]:
    """Pearson's correlation; zero for answers that are all equal."""
    dx, dy = x - x.mean(), y - y.mean()
    spread = jnp.sqrt(jnp.mean(dx**2) * jnp.mean(dy**2))
    return jnp.where(spread > 0, jnp.mean(dx * dy) / jnp.where(spread > 0, spread, 1), 0)
