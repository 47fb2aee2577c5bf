"""Figures of the embedded Reber grammar: predictions, and the units that keep the second symbol."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.inspection.layers import unit_memories
from experiments.tasks.figure_style import BLUE, GREY, ORANGE
from experiments.tasks.reber import Reber
from experiments.tasks.reber_grammar import SYMBOLS, draw_strings, what_is_next, with_second
from experiments.tasks.task import Batch
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from experiments.model import Model, ModelParams

TOLD_APART = ("T", "P")
STYLES = {
    "T": {"color": ORANGE, "marker": "o"},
    "P": {"color": BLUE, "marker": "s", "linestyle": "--"},
}
UNITS = 16
"""Units in the picture."""
WIDEST = 40
"""Most symbols of a string in the picture, which would be too small to read otherwise."""


def draw_predictions(
    axes: Axes,
    read: Int[np.ndarray, " T"],
    probabilities: Float[np.ndarray, "T 7"],
    possible: Bool[np.ndarray, "T 7"],
) -> None:
    """Draw the outputs of every step, with a frame around those of symbols that may be next.

    Args:
      axes: where to draw; its ticks are the symbols read.
      read: the symbols read.
      probabilities: the outputs, from 0 to 1.
      possible: which symbols may be next.
    """
    axes.imshow(probabilities.T, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="none")
    # The frames are points: their size does not depend on the number of steps.
    steps, symbols = np.nonzero(possible)
    size = 5 if len(read) <= WIDEST else 3.5
    axes.plot(steps, symbols, "s", color=ORANGE, fillstyle="none", markersize=size + 2)
    axes.set_yticks(range(len(SYMBOLS)), list(SYMBOLS), fontsize=8)
    axes.set_xticks(range(len(read)), [SYMBOLS[k] for k in read], fontsize=8)
    axes.tick_params(length=0)


def memory(task: Reber, model: "Model", params: "ModelParams", key: PRNGKey) -> Figure:
    """A string with T and the same with P as its second symbol: what differs is the memory of it.

    Args:
      task: the task.
      model: the model.
      params: its parameters.
      key: the key that the string is drawn from, the longest that fits of many.
    """

    @jax.jit
    def sampled(
        params: "ModelParams", key: PRNGKey
    ) -> tuple[Batch, Float[Array, "T 2 7"], Float[Array, "T 2 H"] | None]:
        walk, counts = draw_strings(key, min(task.length + 1, WIDEST), 200)
        longest = jnp.argmax(counts)
        string = jax.tree.map(lambda leaf: leaf[:, longest], walk)
        each = [with_second(string, symbol) for symbol in TOLD_APART]
        pair = jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *each)
        inputs, following = what_is_next(pair)
        lengths = jnp.full(2, counts[longest] - 1)
        outputs = model.apply(params, inputs, lengths)
        kept = unit_memories(model, params, inputs, lengths)
        return Batch(inputs, following, lengths), task.probabilities(outputs), kept

    batch, outputs, kept = jax.tree.map(np.asarray, sampled(params, key))
    T = int(batch.lengths[0])
    read, outputs = batch.inputs[:T], outputs[:T].astype(np.float32)

    panels = 2 if kept is None else 3
    figure = Figure(figsize=(9.0, 0.8 + 2.1 * panels), layout="constrained", dpi=150)
    top, *middle, bottom = figure.subplots(panels, 1, sharex=True)
    draw_predictions(top, read[:, 0], outputs[:, 0], batch.targets.possible[:T, 0])
    top.set(ylabel="next symbol", title="outputs, and in frames what the grammar allows, after BT")
    for axes in middle:
        difference = np.subtract(*np.moveaxis(np.asarray(kept)[:T], 1, 0)).astype(np.float32)
        # Those whose difference is largest where the second-last symbol is predicted.
        most = np.argsort(-np.abs(difference[-2]), kind="stable")[:UNITS]
        shown = difference[:, most[np.argsort(difference[-2, most])]]
        bound = max(float(np.abs(shown).max()), 1e-6)
        image = axes.imshow(
            shown.T, cmap="RdBu_r", vmin=-bound, vmax=bound, aspect="auto", interpolation="none"
        )
        axes.set(ylabel="units", yticks=[], title="state after BT less that after BP: the memory")
        figure.colorbar(image, ax=axes, pad=0.01, aspect=12)
    T_less_P = np.subtract(*(outputs[..., SYMBOLS.index(symbol)] for symbol in TOLD_APART))
    for k, (symbol, style) in enumerate(STYLES.items()):
        bottom.plot(T_less_P[:, k], label=f"B{symbol} at the beginning", markersize=4, **style)
    bottom.axhline(0, color=GREY, linewidth=0.8)
    bottom.set(title="output of T less that of P", ylim=(-1.1, 1.1), xlabel="symbol that is read")
    told = {1, T - 1}
    both = [SYMBOLS[k] if t not in told else "/".join(TOLD_APART) for t, k in enumerate(read[:, 0])]
    bottom.set_xticks(range(T), both)
    bottom.legend(frameon=False, fontsize=9, loc="lower left")
    for axes in (top, *middle, bottom):
        axes.title.set(fontsize=10, ha="left", x=0)
    figure.suptitle("A string with T and with P as its second symbol, which is the second-last too")
    return figure
