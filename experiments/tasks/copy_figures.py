"""Figures of the copy task: the symbols to recall, and the network's answers."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from experiments.tasks.copy import ALPHABET, BLANK, SYMBOLS, Copy
from experiments.tasks.figure_style import GREY
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from experiments.model import Model, ModelParams


def recall(
    task: Copy, model: "Model", params: "ModelParams", key: PRNGKey, sequences: int = 8
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
    answers = np.asarray(task.answers(model.apply(params, batch.inputs, batch.lengths))).T
    panels = {
        "input": np.asarray(batch.inputs).T,
        "target": np.asarray(batch.targets).T,
        "network": answers,
    }
    wrong = int((answers != panels["target"])[:, -SYMBOLS:].sum())
    palette = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866"]
    colours = ListedColormap([*palette, "#44bb99", "#f2f2f2", "#222222"])
    figure = Figure(figsize=(9.0, 5.4), layout="constrained", dpi=150)
    all_axes = figure.subplots(len(panels), 1, sharex=True)
    for axes, (name, classes) in zip(all_axes, panels.items(), strict=True):
        axes.imshow(
            classes, cmap=colours, vmin=-0.5, vmax=ALPHABET + 1.5, aspect="auto",
            interpolation="nearest",
        )  # fmt: skip
        axes.set_ylabel(f"{name}\nsequence")
        axes.set_yticks([0, sequences - 1], ["1", str(sequences)])
        if name == "network":
            for row, t in np.argwhere(classes != panels["target"]):
                axes.text(t, row, "×", ha="center", va="center", color="black", fontsize=9)
    all_axes[-1].set_xlabel("time step")
    figure.suptitle(
        f"Copy after {task.delay} steps: {wrong} of {sequences * SYMBOLS} recalled symbols wrong"
        + (" (×)" if wrong else "")
    )
    legend = [Patch(color=colours(k), label=f"symbol {k + 1}") for k in range(ALPHABET)]
    legend += [
        Patch(facecolor=colours(BLANK), edgecolor=GREY, label="blank"),
        Patch(color=colours(BLANK + 1), label="delimiter"),
    ]
    figure.legend(handles=legend, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure
