"""Figures of the tasks of recall: the network's answers, and which symbols its units keep."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments.inspection.probe import probe_accuracy
from experiments.tasks.lengths import last_steps
from experiments.tasks.recall import Recall
from experiments.tasks.symbol_figures import (
    MOST_CELLS,
    PROBED,
    kept_symbols,
    probed_steps,
    symbol_cells,
    symbol_colours,
    symbol_legend,
)
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from experiments.model import Model, ModelParams


def draw_recall(
    task: Recall, model: "Model", params: "ModelParams", key: PRNGKey, sequences: int
) -> dict[str, Figure]:
    """The figures of the task, by file name; the arguments are those of `Task.figures`."""
    found = {"recall.png": recall(task, model, params, key)}
    kept = memory(task, model, params, key, min(PROBED, 2 * sequences))
    return found if kept is None else {**found, "memory.png": kept}


def recall(
    task: Recall, model: "Model", params: "ModelParams", key: PRNGKey, sequences: int = 8
) -> Figure:
    """Inputs, targets and answers as coloured cells; wrong answers are marked.

    Args:
      task: the task.
      model: the model.
      params: its parameters.
      key: the key that the sequences are drawn from.
      sequences: number of sequences, one per row.
    """
    batch = task.sample((), "test", key, sequences)
    answers = task.answers(model.apply(params, batch.inputs, batch.lengths))
    classes = {"input": batch.inputs, "target": batch.targets, "network": answers}
    lengths = np.full(sequences, task.length) if batch.lengths is None else batch.lengths
    padding = np.arange(task.length) >= np.asarray(lengths)[:, None]
    panels = {n: np.ma.array(np.asarray(each).T, mask=padding) for n, each in classes.items()}
    parts = {
        name: np.asarray(last_steps(each, batch.lengths, task.symbols)).T
        for name, each in classes.items()
    }
    apart = parts if task.length > MOST_CELLS else None
    shown = panels if apart is None else apart
    wrong = np.asarray(shown["network"] != shown["target"]) & ~np.ma.getmaskarray(shown["network"])
    figure = symbol_cells(panels, task.alphabet, wrong, apart)
    missed = int((parts["network"] != parts["target"]).sum())
    name = task.name.replace("_", " ").capitalize()
    delay = task.delay if batch.lengths is None else f"up to {task.delay}"
    figure.suptitle(
        f"{name} after {delay} steps: {missed} of {sequences * task.symbols} recalled symbols wrong"
        + (" (×)" if wrong.any() else "")
    )
    symbol_legend(figure, task.alphabet)
    return figure


def memory(
    task: Recall, model: "Model", params: "ModelParams", key: PRNGKey, sequences: int = PROBED
) -> Figure | None:
    """Which symbols linear probes tell from the state at every step.

    Args:
      task: the task.
      model: the model.
      params: its parameters.
      key: the key that the sequences are drawn from.
      sequences: number of sequences for the probes, an even number.

    Returns:
      The figure, or None if no layer has a state of units.
    """
    # The positions of one sequence with many draws of the symbols: a step is the same for all.
    batch = task.sample((), "test", key, 1)
    length = task.length if batch.lengths is None else int(batch.lengths[0])
    one = np.asarray(batch.inputs[:length, 0])
    read = np.flatnonzero(one < task.blank)
    symbols = jax.random.randint(key, (len(read), sequences), 0, task.alphabet)
    inputs = jnp.tile(one[:, None], (1, sequences)).at[read].set(symbols)
    steps = probed_steps(length)
    accuracy = probe_accuracy(model, params, inputs, symbols, steps)
    if accuracy is None:
        return None
    figure = Figure(figsize=(9.0, 4.2), layout="constrained", dpi=150)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 6])
    top.imshow(
        one[None], cmap=symbol_colours(task.alphabet), vmin=-0.5, vmax=task.alphabet + 1.5,
        aspect="auto", interpolation="nearest",
    )  # fmt: skip
    top.set(yticks=[], ylabel="input")
    first = length - task.symbols
    spans = [(int(step), first + k) for k, step in enumerate(read)]
    kept_symbols(bottom, accuracy, steps, spans, 1 / task.alphabet)
    bottom.set(xlabel="time step", ylabel="symbol", xlim=(-0.5, length - 0.5))
    figure.suptitle("Symbols that the units keep, from reading (white) to recall (orange)")
    return figure
