"""The memory of a network over a sequence of the tasks of 1997, with the steps that count."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.inspection.layers import unit_memories
from experiments.tasks.figure_style import BLUE, GREY, ORANGE, line_style
from experiments.tasks.hs1997.last_step import at_end
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from experiments.model import Model, ModelParams

SEQUENCES = 256
"""Sequences of which the mean state is taken, and the units that tell their answers apart."""
MOST_UNITS = 16
MOST_SYMBOLS = 12
"""Input classes that are written at the axis, rather than numbered."""


def draw_memory(
    task: Any, model: "Model", params: "ModelParams", key: PRNGKey
) -> dict[str, Figure | str]:
    """One sequence, the states of units over it, and the output units at every step.

    Args:
      task: a task of this package.
      model: the model.
      params: its parameters.
      key: the key that the sequences are drawn from.

    Returns:
      ``memory.png``, or nothing if no layer has a state of units.
    """

    @jax.jit
    def sampled(params: "ModelParams", key: PRNGKey) -> tuple[Any, ...]:
        batch = task.sample((), "test", key, SEQUENCES)
        kept = unit_memories(model, params, batch.inputs, batch.lengths)
        return batch, kept, task.units(model.apply(params, batch.inputs, batch.lengths))

    batch, kept, units = jax.tree.map(np.asarray, sampled(params, key))
    if kept is None:
        return {}
    informative = np.asarray(task.informative(batch))
    # In some sequences of experiments 4 and 5 one of the two marks cannot be seen.
    row = int(informative.sum(axis=0).argmax())
    length = len(batch.inputs) if batch.lengths is None else int(batch.lengths[row])
    marked = np.flatnonzero(informative[:length, row])
    ends = np.asarray(at_end(jnp.asarray(kept), batch.lengths), np.float32)
    chosen = telling_units(ends, _answers(batch.targets))[:MOST_UNITS]
    deviations = (kept - kept.mean(axis=1, keepdims=True))[:length, row] / (ends.std(axis=0) + 1e-6)

    figure = Figure(figsize=(9.0, 6.2), layout="constrained", dpi=150)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[1, 2, 1])
    _inputs(top, task, batch.inputs[:length, row], marked)
    image = middle.imshow(
        deviations[:, chosen].T, cmap="RdBu_r", vmin=-2.5, vmax=2.5, aspect="auto",
        interpolation="nearest", extent=(-0.5, length - 0.5, len(chosen) + 0.5, 0.5),
    )  # fmt: skip
    middle.set(ylabel="cell state of the units\nthat tell most", yticks=[1, len(chosen)])
    figure.colorbar(image, ax=middle, label="standard deviations", pad=0.01, aspect=12)
    _outputs(bottom, task, _answers(batch.targets), row, units[:length, row])
    bottom.set(xlabel="time step", xlim=(-0.5, length - 0.5))
    for axes in (top, middle, bottom):
        for t in marked:
            axes.axvline(t, color=ORANGE, linewidth=0.8, linestyle=":", zorder=0.5)
    name = f"{task.name}, {getattr(task, 'experiment', '')}".rstrip(", ")
    figure.suptitle(f"{name}: one sequence of {length} steps, those that count in orange")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    return {"memory.png": figure}


def telling_units(states: Float[np.ndarray, "B H"], answers: Float[np.ndarray, " B"]) -> np.ndarray:
    """The units whose final states tell most about the answer, the best first.

    Args:
      states: the states at the ends of sequences.
      answers: the true answers; a few classes, or numbers.

    Returns:
      The indices of all units ``[H]``, by the share of the variance of each that the answer
      explains: by the means of the classes or, for numbers, by those of eight equal parts.

    >>> answers = np.array([0.0, 0.0, 1.0, 1.0])
    >>> telling_units(np.array([[1.0, 0.0], [2.0, 0.1], [1.0, 5.0], [2.0, 5.1]]), answers).tolist()
    [1, 0]
    """
    classes = np.unique(answers)
    if len(classes) > 16:
        classes, answers = np.arange(8), np.argsort(np.argsort(answers)) * 8 // len(answers)
    groups = [states[answers == each] for each in classes]
    within = sum(len(each) * each.var(axis=0) for each in groups) / len(states)
    return np.argsort(within / (states.var(axis=0) + 1e-12), kind="stable")


def _answers(targets: Any) -> np.ndarray:
    """What is to be answered at the ends of sequences, a number each."""
    return getattr(targets, "expected", targets)[-1]


def _inputs(axes: Axes, task: Any, inputs: np.ndarray, marked: np.ndarray) -> None:
    """The symbols or numbers of a sequence, with the steps that count in orange."""
    t = np.arange(len(inputs))
    if inputs.ndim == 1:
        names = task.symbols()
        axes.scatter(t, inputs, s=6, color=GREY, linewidths=0)
        axes.scatter(marked, inputs[marked], s=28, color=ORANGE, linewidths=0)
        for at in marked:
            axes.annotate(
                names[inputs[at]], (at, inputs[at]), (5, 0), textcoords="offset points",
                color=ORANGE, fontweight="bold", va="center",
            )  # fmt: skip
        axes.set_ylabel("symbol")
        if len(names) <= MOST_SYMBOLS:
            axes.set_yticks(range(len(names)), names)
        axes.margins(y=0.15)
        return
    axes.bar(t, inputs[:, 0], width=1.0, color="#bbbbbb")
    axes.bar(marked, inputs[marked, 0], width=max(1.0, len(t) / 130), color=ORANGE)
    axes.set_ylabel("number")
    axes.axhline(0, color=GREY, linewidth=0.5)


def _outputs(
    axes: Axes, task: Any, answers: np.ndarray, row: int, units: Float[np.ndarray, "T O"]
) -> None:
    """The output units at every step; of many, those of the classes that can be the answer."""
    t, answer = np.arange(len(units)), answers[row]
    if units.shape[1] == 1:
        axes.axhline(answer, color=ORANGE, linestyle="--", label=f"target {answer:.2f}")
        axes.plot(t, units[:, 0], color=BLUE, label=f"output; at the end {units[-1, 0]:.2f}")
        axes.set_ylim(*_span(answer, units))
    else:
        for i, k in enumerate(np.unique(answers)):
            right = k == answer
            name = task.answers()[k] + (" (right)" if right else "")
            axes.plot(t, units[:, k], **line_style(i), linewidth=2.2 if right else 1.2, label=name)
        axes.set_ylim(-0.05, 1.05)
    axes.set_ylabel("output units")
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=4)


def _span(answer: float, units: np.ndarray) -> tuple[float, float]:
    """Limits of an axis with room for a legend at the top."""
    low, high = min(answer, units.min()), max(answer, units.max())
    return low - 0.05 * (high - low), high + 0.5 * (high - low)
