"""How long the units of a layer remember: their timescales, before and after training."""

import math
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.config.components import find_component
from experiments.config.layer import CELLS, LayerConfig, forget_gate_bias
from experiments.inspection.layers import trace_layers
from experiments.model import ModelParams
from experiments.tasks.figure_style import BLUE, GREY, INK, ORANGE

if TYPE_CHECKING:
    from experiments.loading import Run

LONGEST = 1e9
"""A forget gate of float32 that is 1 has no timescale: it is drawn at this one."""


def timescales(
    run: "Run", params: ModelParams | None = None, sequences: int = 20
) -> dict[str, Float[np.ndarray, " H"]]:
    """The timescale of every unit, from its forget gates over held-out sequences.

    ``tau = 1 / (1 - f)`` with the geometric mean ``f`` of its forget gates over all steps: after
    ``tau`` steps about ``1/e`` of the cell state is left.

    Args:
      run: the run.
      params: the parameters; those of the run's seed when not given. `Run.initial_params` are those
        before training.
      sequences: number of sequences.

    Returns:
      For each layer with a gate ``f``, by its name, the timescales of its units in steps. The gates
      of the sLSTM and mLSTM are scaled by a stabiliser: these layers are left out.

    Raises:
      ValueError: if no layer has a forget gate.

    Reference:
      Tallec & Ollivier (2018), *Can recurrent neural networks warp time?*
    """
    batch = run.task.sample(run.data, "test", run.key("test"), sequences)
    traced = trace_layers(
        run.model, run.params if params is None else params, batch.inputs, batch.lengths
    )
    # With a stabiliser m in the state, f acts on what is stored, not on what is remembered.
    gates = {
        layer.name: layer.gates.f
        for layer in traced
        if hasattr(layer.gates, "f") and not hasattr(layer.states, "m")
    }
    if not gates:
        raise ValueError("timescales: no layer of the model has a forget gate f")
    return {name: np.asarray(_timescale(f, batch.lengths)) for name, f in gates.items()}


def _timescale(f: Float[Array, "T B H"], lengths: Any) -> Float[Array, " H"]:
    valid = jnp.ones(f.shape[:2], bool)
    if lengths is not None:
        valid = jnp.arange(len(f))[:, None] < lengths[None]
    logs = jnp.log(jnp.maximum(f, jnp.finfo(f.dtype).tiny)).reshape(*f.shape[:2], -1)
    mean = jnp.mean(logs, axis=(0, 1), where=valid[..., None])
    return 1 / jnp.maximum(-jnp.expm1(mean), 1 / LONGEST)


def initial_share(layer: LayerConfig, tau: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """The share of units whose timescale is at most ``tau`` by the first biases alone.

    With chrono initialisation ``b_f = log u``, ``u`` uniform on ``[1, t_max - 1]``, so that
    ``1 / (1 - sigmoid(b_f)) = 1 + u`` is uniform on ``[2, t_max]``. With one bias ``b`` for all
    units it is ``1 + exp(b)``.

    Args:
      layer: the layer of the config.
      tau: timescales in steps.

    Returns:
      Shares from 0 to 1; nan for a layer whose first biases are drawn in another way.

    Reference:
      Tallec & Ollivier (2018).

    >>> from experiments.config.layer import layer
    >>> initial_share(layer("lstm", chrono_t_max=102), np.array([2.0, 52.0, 200.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    if layer.chrono_t_max is not None:
        return np.clip((tau - 2) / (layer.chrono_t_max - 2), 0, 1)
    default = forget_gate_bias(find_component("cell", layer.cell, CELLS))
    own = layer.preset is not None or getattr(layer, "bias_init", None) is not None
    bias = layer.forget_bias if layer.forget_bias is not None else getattr(default, "value", None)
    if own or bias is None:
        return np.full(len(tau), np.nan)
    return (tau >= 1 + math.exp(bias)).astype(np.float64)


def draw_timescales(run: "Run", sequences: int = 20) -> Figure:
    """Draw the timescales of the units before and after training.

    At the left is the share of the units with a timescale up to each number of steps, with that of
    the initial biases alone; at the right every unit, before and after.

    Args:
      run: the run.
      sequences: number of held-out sequences.

    Raises:
      ValueError: if no layer has a forget gate.
    """
    before, after = timescales(run, run.initial_params, sequences), timescales(run, None, sequences)
    figure = Figure(figsize=(10.0, 4.2 * len(after)), layout="constrained", dpi=110)
    rows = figure.subplots(len(after), 2, squeeze=False)
    layers = run.config.model.layers
    for (left, right), (name, values) in zip(rows, after.items(), strict=True):
        number = int(name.split(",")[0].split()[-1]) - 1
        _shares(left, before[name], values, layers[number])
        _units(right, before[name], values)
        left.set_title(f"{name}: timescales of {len(values)} units", loc="left", fontsize=10)
        length = getattr(run.task, "length", None)
        if length is not None:
            left.axvline(length, color=GREY, linewidth=1, zorder=1, label=f"{length:,} steps")
            right.axhline(length, color=GREY, linewidth=1, zorder=1)
            right.axvline(length, color=GREY, linewidth=1, zorder=1)
        left.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def _shares(
    axes: Axes,
    before: Float[np.ndarray, " H"],
    after: Float[np.ndarray, " H"],
    layer: LayerConfig,
) -> None:
    every = np.concatenate([before, after])
    x = np.geomspace(max(1.0, every.min() / 1.5), every.max() * 1.5, 400)
    theory = initial_share(layer, x)
    if np.isfinite(theory).all():
        label = "initial biases alone"
        axes.plot(x, theory, color=INK, linestyle="--", linewidth=1.2, label=label)
    for values, colour, label in ((before, ORANGE, "before training"), (after, BLUE, "after")):
        at = np.sort(values)
        shares = np.arange(len(at) + 1) / len(at)
        axes.step([x[0], *at, x[-1]], [*shares, 1.0], where="post", color=colour, label=label)
    axes.set(xscale="log", xlabel="timescale 1 / (1 - f), in steps", ylabel="share of the units")
    axes.spines[["top", "right"]].set_visible(False)


def _units(axes: Axes, before: Float[np.ndarray, " H"], after: Float[np.ndarray, " H"]) -> None:
    ends = np.array([min(before.min(), after.min()), max(before.max(), after.max())])
    axes.plot(ends, ends, color=GREY, linestyle=":", linewidth=1.2, label="unchanged")
    axes.scatter(before, after, s=14, color=BLUE, alpha=0.7, linewidths=0)
    axes.set(xscale="log", yscale="log", xlabel="timescale before", ylabel="timescale after")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
