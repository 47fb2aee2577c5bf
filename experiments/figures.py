"""The pictures of a run, as PNG files in its workdir."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import lstm_jax as lj
from experiments import keys
from experiments.config import Config
from experiments.generate import generate
from experiments.model import Model, ModelParams, make_model
from experiments.summary import describe
from experiments.tasks import Adding, Chars, Copy
from experiments.tasks.adding import TOLERANCE
from experiments.tasks.copy import ALPHABET, BLANK, SYMBOLS
from experiments.workdir import Workdir
from lstm_jax.types import PyTree

BLUE, ORANGE, GREY = "#1f6fb4", "#d9661f", "#8a8a8a"
SAMPLE_CHARACTERS = 1200


def draw(
    config: Config, params: ModelParams, data: PyTree, workdir: Workdir, summary: dict[str, Any]
) -> None:
    """Draw the learning curve and the task's own picture, and name them in the summary.

    Args:
      config: the config that ran.
      params: parameters of all seeds, leaves ``[N, ...]``; the pictures show the first seed.
      data: what the task loaded.
      workdir: where the pictures go.
      summary: gets the names under ``"figures"``.
    """
    workdir.figures_path.mkdir(exist_ok=True)
    first = jax.tree.map(lambda leaf: leaf[0], params)
    model = make_model(config.model, config.task)
    baselines = config.task.baselines(data, "validation")
    figures = {"learning_curve": learning_curve(config, workdir.metrics(), baselines)}
    match config.task:
        case Adding() as task:
            figures["predictions"] = predictions(config, task, model, first)
            if isinstance(model.cell, lj.LSTM):
                figures["memory"] = memory(config, task, model, model.cell, first)
        case Copy() as task:
            figures["recall"] = recall(config, task, model, first)
        case Chars():
            key = keys.data_key("test", config.seed)
            text = generate(model, first, key, SAMPLE_CHARACTERS)
            (workdir.figures_path / "sample.txt").write_text(text + "\n", encoding="utf-8")
            figures["sample"] = page_of_text("Sampled from the model", text)
    for name, figure in figures.items():
        FigureCanvasAgg(figure).print_png(str(workdir.figures_path / f"{name}.png"))
    summary["figures"] = sorted(
        str(path.relative_to(workdir.path)) for path in workdir.figures_path.iterdir()
    )


def learning_curve(
    config: Config, records: list[dict[str, Any]], baselines: dict[str, float]
) -> Figure:
    """Training loss and the held-out metric of every seed, against the baselines."""
    metric = config.task.metric
    none = {metric: [None] * config.seeds}
    figure, axes = _figure(7.0, 4.2)
    for seed in range(config.seeds):
        trained = _series(records, lambda r, i=seed: r["loss"][i])
        held_out = _series(records, lambda r, i=seed: r.get("validation", none)[metric][i])
        labels = ("training", "held-out") if seed == 0 else (None, None)
        axes.plot(*trained, color=BLUE, alpha=0.3, linewidth=1, label=labels[0])
        axes.plot(*held_out, color=BLUE, linewidth=1.8, label=labels[1])
    for (name, value), style in zip(baselines.items(), ("--", ":", "-."), strict=False):
        axes.axhline(value, color=ORANGE, linestyle=style, label=f"{name}: {value:.4g}")
    if config.task.solved.metric == metric:
        goal = config.task.solved.threshold
        axes.axhline(goal, color=GREY, linewidth=1, label=f"solved: {config.task.solved}")
    if not isinstance(config.task, Chars):
        axes.set_yscale("log")
    axes.set_xlabel(f"updates of {config.train.batch_size} sequences")
    axes.set_ylabel(metric.replace("_", " "))
    seeds = "" if config.seeds == 1 else f", {config.seeds} seeds"
    axes.set_title(f"{describe(config.task)}{seeds}")
    axes.legend(frameon=False, fontsize=9)
    return figure


def predictions(config: Config, task: Adding, model: Model, params: ModelParams) -> Figure:
    """The network's sums against the true ones."""
    count = min(config.eval.sequences, 1000)
    batch = task.sample((), "test", keys.data_key("test", config.seed), count)
    answers = task.answers(model.apply(params, batch.inputs))
    truth, given = np.asarray(batch.targets[0]), np.asarray(answers[0])
    figure, axes = _figure(5.0, 5.0)
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
    axes.scatter(truth, given, s=6, color=BLUE, alpha=0.6, linewidths=0, label="network")
    axes.set(
        xlabel="sum of the two marked values",
        ylabel="answer at the last step",
        xlim=(0, 2),
        ylim=(min(0.0, given.min() - 0.05), max(2.0, given.max() + 0.05)),
        title=f"{count} held-out sequences of {task.length} steps",
    )
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    return figure


def memory(
    config: Config, task: Adding, model: Model, cell: lj.LSTM, params: ModelParams, units: int = 24
) -> Figure:
    """One sequence, the cell state while it is read, and the answer as it would be at each step."""
    # Deviations from the mean over many sequences are what this sequence has put there.
    batch = task.sample((), "test", keys.data_key("test", config.seed), 256)
    states = lj.trace(cell, params.cell, batch.inputs).states
    answers = np.asarray(model.readout(params, states.h))[:, 0, 0]
    c = np.asarray(states.c)
    deviations = (c - c.mean(axis=1, keepdims=True)) / (c[-1].std(axis=0) + 1e-6)
    sums = np.asarray(batch.targets[0])
    stores = (deviations[-1] * (sums - sums.mean())[:, None]).mean(axis=0)
    chosen = np.argsort(-np.abs(stores))[:units]
    chosen = chosen[np.argsort(-stores[chosen])]
    values, markers = np.moveaxis(np.asarray(batch.inputs[:, 0]), -1, 0)
    t, marked = np.arange(task.length), np.flatnonzero(markers)

    figure = Figure(figsize=(9.0, 5.8), layout="constrained", dpi=150)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[1, 2.2, 1])
    top.bar(t, values, width=1.0, color="#cccccc")
    top.bar(marked, values[marked], width=max(1.0, task.length / 130), color=ORANGE)
    for at in marked:
        top.text(at, 1.08, f"{values[at]:.2f}", ha="center", color=ORANGE, fontweight="bold")
    top.set(ylabel="value shown", ylim=(0, 1.35), yticks=[0, 1])
    image = middle.imshow(
        deviations[:, 0, chosen].T, cmap="RdBu_r", vmin=-2.5, vmax=2.5, aspect="auto",
        interpolation="nearest", extent=(-0.5, task.length - 0.5, len(chosen) + 0.5, 0.5),
    )  # fmt: skip
    middle.set(ylabel="cell state\nof the units that keep the sum", yticks=[1, len(chosen)])
    figure.colorbar(image, ax=middle, label="standard deviations", pad=0.01, aspect=12)
    bottom.axhline(sums[0], color=ORANGE, linestyle="--", label=f"sum of the marked: {sums[0]:.2f}")
    bottom.plot(t, answers, color=BLUE, label=f"answer if read here; at the end {answers[-1]:.2f}")
    bottom.set(
        ylabel="answer",
        xlabel="time step",
        xlim=(-0.5, task.length - 0.5),
        ylim=(min(0.0, answers.min()), 1.5 * max(sums[0], answers.max())),
    )
    bottom.legend(frameon=False, fontsize=9, loc="upper left", ncols=2)
    figure.suptitle(f"Two numbers marked among {task.length}, and the cell state that keeps them")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def recall(config: Config, task: Copy, model: Model, params: ModelParams, rows: int = 8) -> Figure:
    """What was shown, and what came back after the delay, as coloured cells."""
    batch = task.sample((), "test", keys.data_key("test", config.seed), rows)
    answers = np.asarray(task.answers(model.apply(params, batch.inputs))).T
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
        axes.set_yticks([0, rows - 1], ["1", str(rows)])
        if name == "network":
            for row, t in np.argwhere(classes != panels["target"]):
                axes.text(t, row, "×", ha="center", va="center", color="black", fontsize=9)
    all_axes[-1].set_xlabel("time step")
    figure.suptitle(
        f"Copy after {task.delay} steps: {wrong} of {rows * SYMBOLS} recalled symbols wrong"
        + (" (×)" if wrong else "")
    )
    legend = [Patch(color=colours(k), label=f"symbol {k + 1}") for k in range(ALPHABET)]
    legend += [
        Patch(facecolor=colours(BLANK), edgecolor=GREY, label="blank"),
        Patch(color=colours(BLANK + 1), label="delimiter"),
    ]
    figure.legend(handles=legend, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


def page_of_text(title: str, text: str, lines: int = 34, columns: int = 96) -> Figure:
    """Text as a picture, cut to what fits a page."""
    page = [line.expandtabs(4)[:columns] for line in text.splitlines()[:lines]]
    figure = Figure(figsize=(9.0, 0.6 + 0.14 * len(page)), dpi=150)
    figure.text(0.03, 0.98, title, va="top", fontsize=11)
    top = 1 - 0.42 / figure.get_figheight()
    figure.text(
        0.03, top, "\n".join(page), va="top", family="monospace", fontsize=8,
        linespacing=1.25, parse_math=False,
    )  # fmt: skip
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _series(
    records: list[dict[str, Any]], value: Callable[[dict[str, Any]], float | None]
) -> tuple[list[int], list[float]]:
    """Updates and values, where the record has one for this seed."""
    points = [(record["update"], value(record)) for record in records]
    found = [(update, v) for update, v in points if v is not None]
    return [update for update, _ in found], [v for _, v in found]
