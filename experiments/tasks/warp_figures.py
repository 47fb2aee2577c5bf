"""Figures of the warp task: the network's answers, and which characters its units keep."""

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments.inspection.probe import probe_accuracy
from experiments.tasks.symbol_figures import (
    MOST_CELLS,
    PROBED,
    kept_symbols,
    probed_steps,
    symbol_cells,
    symbol_colours,
    symbol_legend,
)
from experiments.tasks.warp import ALPHABET, Warp
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from experiments.model import Model, ModelParams

SHOWN = 12
"""Characters in the figure of what is kept."""


def draw_warp(
    task: Warp, model: "Model", params: "ModelParams", key: PRNGKey, sequences: int
) -> dict[str, Figure]:
    """The figures of the task, by file name; the arguments are those of `Task.figures`."""
    found = {"answers.png": answers(task, model, params, key)}
    kept = memory(task, model, params, key, min(PROBED, 2 * sequences))
    return found if kept is None else {**found, "memory.png": kept}


def answers(
    task: Warp, model: "Model", params: "ModelParams", key: PRNGKey, sequences: int = 8
) -> Figure:
    """The first steps of inputs, targets and answers as coloured cells; wrong ones are marked.

    Args:
      task: the task.
      model: the model.
      params: its parameters.
      key: the key that the sequences are drawn from.
      sequences: number of sequences, one per row.
    """
    batch = task.sample((), "test", key, sequences)
    answered = task.answers(model.apply(params, batch.inputs, batch.lengths))
    missed = int((answered != batch.targets).sum())
    panels = {
        name: np.asarray(classes)[:MOST_CELLS].T
        for name, classes in zip(
            ("input", "target", "network"), (batch.inputs, batch.targets, answered), strict=True
        )
    }
    figure = symbol_cells(panels, ALPHABET, panels["network"] != panels["target"])
    figure.suptitle(
        f"The character before the current one, {task.warping} warping up to {task.max_warp}:"
        f" {missed} of {batch.targets.size} answers wrong" + (" (×)" if missed else "")
    )
    symbol_legend(figure, ALPHABET, delimiter=None)
    return figure


def memory(
    task: Warp, model: "Model", params: "ModelParams", key: PRNGKey, sequences: int = PROBED
) -> Figure | None:
    """Which characters linear probes tell from the state at every step.

    Args:
      task: the task.
      model: the model.
      params: its parameters.
      key: the key that the sequences are drawn from.
      sequences: number of sequences for the probes, an even number.

    Returns:
      The figure, or None if no layer has a state of units.
    """
    # The warping of one sequence with many draws of its characters: a step is the same for all.
    one = np.asarray(task.sample((), "test", key, 1).inputs[:, 0])
    begins = np.flatnonzero(np.diff(one, prepend=-1))
    length = int(begins[SHOWN]) if len(begins) > SHOWN else task.length
    one, begins = one[:length], begins[:SHOWN]
    number = np.searchsorted(begins, np.arange(length), side="right") - 1
    characters = task.characters(key, len(begins), sequences)
    inputs = task.warped(characters, jnp.tile(number[:, None], (1, sequences))).inputs
    steps = probed_steps(length)
    accuracy = probe_accuracy(model, params, inputs, characters, steps)
    if accuracy is None:
        return None
    figure = Figure(figsize=(9.0, 4.2), layout="constrained", dpi=150)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 6])
    top.imshow(
        one[None], cmap=symbol_colours(ALPHABET), vmin=-0.5, vmax=ALPHABET + 1.5,
        aspect="auto", interpolation="nearest",
    )  # fmt: skip
    top.set(yticks=[], ylabel="input")
    # A character is the answer until the end of the one after it.
    ends = [*begins[2:], length, length][: len(begins)]
    spans = [(int(begin), int(end) - 1) for begin, end in zip(begins, ends, strict=True)]
    kept_symbols(bottom, accuracy, steps, spans, 1 / ALPHABET)
    bottom.set(xlabel="time step", ylabel="character", xlim=(-0.5, length - 0.5))
    figure.suptitle("Characters that the units keep, from reading (white) to the last use (orange)")
    return figure
