"""Figures of associative recall: the answer to every letter, and which digits the units keep."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.inspection.probe import probe_accuracy
from experiments.tasks.associative_recall import CHARACTERS, DIGITS, AssociativeRecall
from experiments.tasks.figure_style import ORANGE
from experiments.tasks.symbol_figures import PROBED, kept_symbols, probed_steps
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from experiments.model import Model, ModelParams


def draw_associative_recall(
    task: AssociativeRecall, model: "Model", params: "ModelParams", key: PRNGKey, sequences: int
) -> dict[str, Figure]:
    """The figures of the task, by file name; the arguments are those of `Task.figures`."""
    found = {"answers.png": answers(task, model, params, key)}
    kept = memory(task, model, params, key, min(PROBED, 2 * sequences))
    return found if kept is None else {**found, "memory.png": kept}


def answers(
    task: AssociativeRecall, model: "Model", params: "ModelParams", key: PRNGKey, sequences: int = 4
) -> Figure:
    """The probability of every digit when a sequence is asked for each of its letters.

    Args:
      task: the task.
      model: the model.
      params: its parameters.
      key: the key that the sequences are drawn from.
      sequences: number of sequences, one per panel.
    """
    pairs = task.pairs
    read = task.sample((), "test", key, sequences).inputs[: 2 * pairs]
    letters, digits = (jnp.repeat(each, pairs, axis=1) for each in (read[::2], read[1::2]))
    asked = read[::2].T.reshape(1, -1)
    outputs = model.apply(params, task.sequences(letters, digits, asked))
    told = np.asarray(jax.nn.softmax(outputs[-1])).reshape(sequences, pairs, DIGITS)
    right = np.asarray(read[1::2]).T
    missed = int((told.argmax(axis=-1) != right).sum())

    figure = Figure(figsize=(9.0, 1.4 + 0.28 * pairs), layout="constrained", dpi=150)
    all_axes = figure.subplots(1, sequences, squeeze=False)[0]
    for axes, probabilities, sequence, digit in zip(
        all_axes, told, np.asarray(read).T, right, strict=True
    ):
        axes.imshow(probabilities, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for row, column in enumerate(digit):
            corner = (column - 0.5, row - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=ORANGE, linewidth=2))
        text = "".join(CHARACTERS[each] for each in sequence)
        axes.set_title("\n".join(text[at : at + 16] for at in range(0, len(text), 16)), fontsize=10)
        axes.set_xticks(range(DIGITS))
        axes.set_yticks(range(pairs), [CHARACTERS[each] for each in sequence[::2]])
        axes.set_xlabel("digit")
    all_axes[0].set_ylabel("letter asked for")
    figure.colorbar(all_axes[0].images[0], ax=all_axes, label="probability", pad=0.01, aspect=12)
    figure.suptitle(
        f"Asked for each letter after {task.delay} question marks: {missed} of {right.size} answers"
        " wrong; the right digit has a frame"
    )
    return figure


def memory(
    task: AssociativeRecall,
    model: "Model",
    params: "ModelParams",
    key: PRNGKey,
    sequences: int = PROBED,
) -> Figure | None:
    """Which digits linear probes tell from the state at every step, where the first is asked for.

    Args:
      task: the task.
      model: the model.
      params: its parameters.
      key: the key that the sequences are drawn from.
      sequences: number of sequences for the probes, an even number.

    Returns:
      The figure, or None if no layer has a state of units.
    """
    # The letters of one sequence with many draws of the digits.
    letters = task.sample((), "test", key, 1).inputs[: 2 * task.pairs : 2]
    letters = jnp.tile(letters, (1, sequences))
    digits = jax.random.randint(key, (task.pairs, sequences), 0, DIGITS)
    inputs = task.sequences(letters, digits, letters[:1])
    steps = probed_steps(task.length)
    accuracy = probe_accuracy(model, params, inputs, digits, steps)
    if accuracy is None:
        return None
    figure = Figure(figsize=(9.0, 1.6 + 0.3 * task.pairs), layout="constrained", dpi=150)
    axes = figure.subplots()
    last = task.length - 1
    spans = [(2 * pair + 1, last) for pair in range(task.pairs)]
    kept_symbols(axes, accuracy, steps, spans, 1 / DIGITS)
    names = [CHARACTERS[int(letter)] for letter in letters[:, 0]]
    axes.set_yticks(range(1, task.pairs + 1), names)
    if task.length <= 60:
        read = [character for name in names for character in (name, "#")]
        axes.set_xticks(range(task.length), [*read, *"?" * task.delay, names[0]])
    axes.set(xlabel="what is read; # is a digit", ylabel="digit of the letter")
    figure.suptitle("Digits that the units keep, from reading (white) to the answer (orange)")
    return figure
