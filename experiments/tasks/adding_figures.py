"""Figures of the adding task: predictions, other lengths, and the units that keep the sum."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments.inspection.at_once import sequences_at_once
from experiments.inspection.layers import unit_memories
from experiments.inspection.other_lengths import draw_other_lengths
from experiments.tasks.adding import TOLERANCE, Adding
from experiments.tasks.figure_style import BLUE, GREY, ORANGE, new_figure
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from experiments.model import Model, ModelParams

EACH_LENGTH = 20
"""Sequences of each length in one part of the errors."""
KEPT = 256
"""Sequences for the mean state, from which that of one sequence deviates."""


def draw_adding(
    task: Adding, model: "Model", params: "ModelParams", key: PRNGKey, sequences: int
) -> dict[str, Figure]:
    """The figures of the task, by file name; the arguments are those of `Task.figures`."""
    lengths = [max(2, int(task.length * times)) for times in (1 / 4, 1 / 2, 1, 2, 4)]
    errors = errors_at_lengths(task, model, params, key, lengths, min(sequences, 200))
    found = {
        "predictions.png": predictions(task, model, params, key, min(sequences, 1000)),
        "error_against_length.png": error_against_length(task, {"network": errors}),
    }
    kept = memory(task, model, params, key)
    return found if kept is None else {**found, "memory.png": kept}


def predictions(
    task: Adding, model: "Model", params: "ModelParams", key: PRNGKey, count: int
) -> Figure:
    """The network's sums against the true sums.

    Args:
      task: the task.
      model: the model.
      params: its parameters.
      key: the key that the sequences are drawn from.
      count: number of sequences.
    """

    size = sequences_at_once(task.length, count)

    def part(key: PRNGKey) -> tuple[jax.Array, jax.Array]:
        batch = task.sample((), "test", key, size)
        return batch.targets, task.answers(model.apply(params, batch.inputs, batch.lengths))

    # As one program: operations that are compiled one by one take several times as long.
    parts = jax.jit(lambda keys: jax.lax.map(part, keys))(jax.random.split(key, count // size))
    truth, predicted = (np.asarray(each).ravel() for each in parts)
    figure, axes = new_figure(5.0, 5.0)
    line = np.array([0.0, 2.0])
    axes.fill_between(
        line,
        line - TOLERANCE,
        line + TOLERANCE,
        color=GREY,
        alpha=0.3,
        linewidth=0,
        label=f"within {TOLERANCE}",
    )
    axes.plot(line, [1, 1], color=ORANGE, linestyle="--", label="always answer 1")
    axes.scatter(truth, predicted, s=6, color=BLUE, alpha=0.6, linewidths=0, label="network")
    axes.set(
        xlabel="sum of the two marked values",
        ylabel="answer at the last step",
        xlim=(0, 2),
        ylim=(min(0.0, predicted.min() - 0.05), max(2.0, predicted.max() + 0.05)),
        title=f"{count} held-out sequences of {task.length} steps",
    )
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    return figure


def errors_at_lengths(
    task: Adding,
    model: "Model",
    params: "ModelParams",
    key: PRNGKey,
    lengths: Sequence[int],
    count: int,
) -> dict[int, float]:
    """The mean squared error on sequences of other lengths than the task's.

    Args:
      task: the task.
      model: the model.
      params: its parameters.
      key: the key that the sequences are drawn from.
      lengths: the lengths.
      count: number of sequences of each length, rounded up to whole parts.

    Returns:
      The errors by length.
    """

    # All lengths in one padded batch: a program for each would take longer to compile than to run.
    longest = dataclasses.replace(task, length=max(lengths))
    size = sequences_at_once(len(lengths) * max(lengths), EACH_LENGTH)
    valid = jnp.repeat(jnp.asarray(lengths), size)

    def part(key: PRNGKey) -> jax.Array:
        batch = longest.sequences(key, len(valid), valid)
        answers = task.answers(model.apply(params, batch.inputs, valid), valid)
        squared = jnp.square(answers - batch.targets)
        return squared.reshape(len(lengths), size).mean(axis=1)

    parts = jax.jit(lambda keys: jax.lax.map(part, keys))(jax.random.split(key, -(-count // size)))
    return dict(zip(lengths, np.asarray(parts.mean(axis=0)).tolist(), strict=True))


def error_against_length(
    task: Adding, errors: Mapping[str, Mapping[int, float | Sequence[float]]]
) -> Figure:
    """The error of networks on sequences of several lengths, beside the error without memory.

    Args:
      task: the task, for its baseline, and for the lengths of its training sequences.
      errors: errors by length, for every name of a network; or errors of several networks of that
        name, of which the figure has the median, and a band from the smallest to the largest.
    """
    return draw_other_lengths(task, errors)


def memory(
    task: Adding, model: "Model", params: "ModelParams", key: PRNGKey, units: int = 24
) -> Figure | None:
    """One input sequence, the state over time, and the readout at every step.

    Args:
      task: the task.
      model: the model.
      params: its parameters.
      key: the key that the sequences are drawn from.
      units: number of units to draw, those of all layers whose state correlates most with the sum.

    Returns:
      The figure, or None if no layer has a state of units.
    """

    size = sequences_at_once(task.length, KEPT)
    one = task.sequences(key, 1)
    if jax.eval_shape(lambda: unit_memories(model, params, one.inputs)) is None:
        return None

    def part(total: jax.Array, key: PRNGKey) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        batch = task.sequences(key, size)
        c = _memories(model, params, batch.inputs)
        return total + c.sum(axis=1), (c[-1], batch.targets[0])

    @jax.jit
    def sampled(inputs: jax.Array, keys: PRNGKey) -> tuple[jax.Array, ...]:
        c = _memories(model, params, inputs)[:, 0]
        total, (last, sums) = jax.lax.scan(part, jnp.zeros_like(c), keys)
        answers = model.apply(params, inputs)[:, 0, 0]
        return c, answers, total / KEPT, last.reshape(KEPT, -1), sums.ravel()

    # The deviation from the mean over many sequences is what this sequence has stored.
    found = sampled(one.inputs, jax.random.split(jax.random.fold_in(key, 1), KEPT // size))
    c, answers, mean, last, sums = map(np.asarray, found)
    spread = last.std(axis=0) + 1e-6
    deviations = (c - mean) / spread
    stores = ((last - mean[-1]) / spread * (sums - sums.mean())[:, None]).mean(axis=0)
    chosen = np.argsort(-np.abs(stores))[:units]
    chosen = chosen[np.argsort(-stores[chosen])]
    total = float(one.targets[0, 0])
    values, markers = np.moveaxis(np.asarray(one.inputs[:, 0]), -1, 0)
    t, marked = np.arange(task.length), np.flatnonzero(markers)

    figure = Figure(figsize=(9.0, 5.8), layout="constrained", dpi=150)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[1, 2.2, 1])
    top.bar(t, values, width=1.0, color="#cccccc")
    top.bar(marked, values[marked], width=max(1.0, task.length / 130), color=ORANGE)
    for at in marked:
        top.text(at, 1.08, f"{values[at]:.2f}", ha="center", color=ORANGE, fontweight="bold")
    top.set(ylabel="input value", ylim=(0, 1.35), yticks=[0, 1])
    image = middle.imshow(
        deviations[:, chosen].T, cmap="RdBu_r", vmin=-2.5, vmax=2.5, aspect="auto",
        interpolation="nearest", extent=(-0.5, task.length - 0.5, len(chosen) + 0.5, 0.5),
    )  # fmt: skip
    middle.set(ylabel="state of the units\nthat keep the sum", yticks=[1, len(chosen)])
    figure.colorbar(image, ax=middle, label="standard deviations", pad=0.01, aspect=12)
    bottom.axhline(total, color=ORANGE, linestyle="--", label=f"sum of the marked: {total:.2f}")
    bottom.plot(t, answers, color=BLUE, label=f"answer if read here; at the end {answers[-1]:.2f}")
    bottom.set(
        ylabel="answer",
        xlabel="time step",
        xlim=(-0.5, task.length - 0.5),
        ylim=(min(0.0, answers.min()), 1.5 * max(total, answers.max())),
    )
    bottom.legend(frameon=False, fontsize=9, loc="upper left", ncols=2)
    figure.suptitle(f"Two numbers marked among {task.length}, and the units that keep them")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _memories(model: "Model", params: "ModelParams", inputs: jax.Array) -> jax.Array:
    """`unit_memories` of a model that has some, in float32."""
    found = unit_memories(model, params, inputs)
    assert found is not None
    return found.astype(jnp.float32)
