"""How far back the gradient of a model reaches: its norm against the lag."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

import lstm_jax as lj
from experiments.inspection.layers import layers_of
from experiments.model import ModelParams
from experiments.tasks.figure_style import COLOURS, GREY

if TYPE_CHECKING:
    from experiments.loading import Run

MEMORY_FIELDS = ("h", "c", "C")


def gradient_against_lag(
    run: "Run", params: ModelParams | None = None, sequences: int = 16
) -> dict[str, Float[np.ndarray, " T"]]:
    """The mean norm of the gradient with respect to every state, by how long ago it was.

    ``E ||dL / dh_{T - tau}||`` for ``tau`` from 0 to ``T - 1``, with the loss ``L`` of the task on
    held-out sequences; the same for the cell state ``c``.

    Args:
      run: the run.
      params: the parameters; those of the run's seed when not given. `Run.initial_params` are those
        before training.
      sequences: number of sequences.

    Returns:
      For each layer and field of its state, such as ``"layer 1, h"``, the norms by lag.

    Raises:
      TypeError: if the model has no single steps, as with layers in both directions.

    Reference:
      Bengio, Simard & Frasconi (1994); Pascanu, Mikolov & Bengio (2013).
    """
    return _norms_by_lag(run, sequences)(run.params if params is None else params)


def _norms_by_lag(
    run: "Run", sequences: int
) -> Callable[[ModelParams], dict[str, Float[np.ndarray, " T"]]]:
    """`gradient_against_lag` of any parameters, compiled once."""
    batch = run.task.sample(run.data, "test", run.key("test"), sequences)

    @jax.jit
    def flow(params: ModelParams) -> Any:
        def loss(hs: Float[Array, "T B H"]) -> Float[Array, ""]:
            # A sum over the sequences, so that each has a gradient of its own.
            return sequences * run.task.loss(run.model.readout(params, hs), batch)

        return lj.gradient_flow(run.model.cell, params.cell, run.model.encode(batch.inputs), loss)

    def by_lag(params: ModelParams) -> dict[str, Float[np.ndarray, " T"]]:
        found = {}
        for name, _, norms, _ in layers_of(run.model.cell, flow(params), None):
            fields = [field for field in MEMORY_FIELDS if hasattr(norms, field)]
            for field in fields or ["h"]:
                values = np.asarray(getattr(norms, field, norms[0]), np.float64)
                # Other axes than the steps are those of sequences, and of heads.
                found[f"{name}, {field}"] = values.reshape(len(values), -1).mean(axis=1)[::-1]
        return found

    return by_lag


def draw_gradient_lag(runs: Mapping[str, "Run"], sequences: int = 16) -> Figure:
    """Draw the gradient of runs against the lag, before training (dashed) and after.

    Each curve is divided by its value at the last step, as the gradient of a model that is right is
    small everywhere. The curve of the cell state begins at the step before, as no step follows the
    last one.

    Args:
      runs: runs of one task by their names.
      sequences: number of held-out sequences.
    """
    curves: dict[str, list[tuple[str, int, str, np.ndarray]]] = {}
    for i, (label, run) in enumerate(runs.items()):
        by_lag = _norms_by_lag(run, sequences)
        for params, style in ((run.initial_params, "--"), (run.params, "-")):
            for name, norms in by_lag(params).items():
                curves.setdefault(name, []).append((label, i, style, norms))
    figure = Figure(figsize=(5.6 * len(curves), 4.6), layout="constrained", dpi=110)
    panels = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for axes, (name, of_name) in zip(panels, curves.items(), strict=True):
        for label, i, style, norms in of_name:
            first = int(np.argmax(norms > 0))
            lags, relative = (
                np.arange(len(norms))[first:],
                norms[first:] / max(norms[first], 1e-300),
            )
            axes.plot(
                lags,
                relative,
                color=COLOURS[i % len(COLOURS)],
                linestyle=style,
                label=f"{label}, {'before' if style == '--' else 'after'} training",
            )
        axes.axhline(1.0, color=GREY, linewidth=1, zorder=1)
        field = name.rpartition(" ")[2]
        axes.set(yscale="log", xlabel="lag: steps before the end")
        axes.set_title(f"{name}: norm of dL/d{field} at a lag, over that at the end", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(max(low, 1e-12), high)
    panels[0].legend(frameon=False, fontsize=9, loc="lower left")
    return figure
