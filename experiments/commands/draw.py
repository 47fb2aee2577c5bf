"""The command draw: figures of what trained models remember."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.commands.flag_parser import FlagParser
from experiments.errors import UserError
from lstm_jax.did_you_mean import did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.loading import Run

NAMES = ("lengths", "timescales", "gradient", "operands", "gates", "task")
"""The figures, by their names."""
FACTORS = (1 / 4, 1 / 2, 1, 2, 4)
"""Lengths at which a model is tested where none are given, as multiples of that of the training."""


def draw_command(arguments: list[str]) -> int:
    """``draw WORKDIR ... --figure NAME [--lengths N,...] [--sequences N] [--out FOLDER]``.

    Args:
      arguments: the words after ``draw``.

    Returns:
      The exit code.

    Raises:
      UserError: if a run has no checkpoint, or a figure is not one of its task, or a flag is wrong.
    """
    given = _parse(arguments)
    # Imported here, so that usage errors do not wait for JAX.
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from experiments.loading import load_run

    paths = _labels(given.runs)
    out = Path(given.out) if given.out else next(iter(paths.values())) / "figures"
    try:
        runs = {label: load_run(path) for label, path in paths.items()}
        tasks = dict.fromkeys(run.task.name for run in runs.values())
        if len(tasks) > 1:
            raise UserError(f"draw: runs must be of one task; got {', '.join(tasks)}")
        figures = DRAW[given.figure](runs, given)
    except (TypeError, ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from None
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in figures.items():
            if isinstance(content, str):
                (out / name).write_text(content, encoding="utf-8")
            else:
                FigureCanvasAgg(content).print_png(str(out / name))
            print(out / name)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from None
    return 0


def _lengths(runs: "Mapping[str, Run]", given: argparse.Namespace) -> "dict[str, Figure | str]":
    from experiments.inspection.other_lengths import draw_other_lengths, metrics_at_lengths
    from experiments.results.lengths_file import LENGTHS_FILE, write_errors_at
    from experiments.tasks.lengths import length_of, trained_lengths

    first_run = next(iter(runs.values()))
    first = first_run.task
    length = length_of(first)
    if length is None:
        raise UserError(f"draw: the task {first.name} has no length")
    lengths = given.lengths or [max(2, int(length * factor)) for factor in FACTORS]
    lengths = list(dict.fromkeys(lengths))
    measured, trained = {}, {}
    for label, run in runs.items():
        found = metrics_at_lengths(run, lengths, given.sequences or 500)
        path = run.path / LENGTHS_FILE
        try:
            write_errors_at(path, found)
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from None
        measured[label], trained[label] = found, trained_lengths(run.task)
        for at, values in found[run.task.metric].items():
            print(f"{label}, length {at:,}: {run.task.metric}", *(f"{v:.3g}" for v in values))
    figures = {}
    for metric in {metric: None for found in measured.values() for metric in found}:
        of_metric = {label: found[metric] for label, found in measured.items() if metric in found}
        figure = draw_other_lengths(first, of_metric, metric, trained, first_run.data)
        figures["lengths.png" if metric == first.metric else f"lengths_{metric}.png"] = figure
    return figures


def _timescales(runs: "Mapping[str, Run]", given: argparse.Namespace) -> "dict[str, Figure | str]":
    from experiments.inspection.timescales import draw_timescales

    return {"timescales.png": draw_timescales(_one(runs, given), given.sequences or 20)}


def _gradient(runs: "Mapping[str, Run]", given: argparse.Namespace) -> "dict[str, Figure | str]":
    from experiments.inspection.gradient_lag import draw_gradient_lag

    return {"gradient.png": draw_gradient_lag(runs, given.sequences or 16)}


def _operands(runs: "Mapping[str, Run]", given: argparse.Namespace) -> "dict[str, Figure | str]":
    from experiments.inspection.operands import draw_operands, follow_operands
    from experiments.results.rows import arm_of
    from experiments.run.summary import describe_task

    run = _one(runs, given)
    curves = follow_operands(run.config, run.progress.update, sequences=given.sequences or 1000)
    title = f"{describe_task(run.task)}, {arm_of(run.config)}"
    return {"operands.png": draw_operands(curves, title, run.config.seed)}


def _gates(runs: "Mapping[str, Run]", given: argparse.Namespace) -> "dict[str, Figure | str]":
    return {"gates.png": _one(runs, given).draw_gates()}


def _task(runs: "Mapping[str, Run]", given: argparse.Namespace) -> "dict[str, Figure | str]":
    run = _one(runs, given)
    sequences = given.sequences or run.config.eval.sequences
    return run.task.figures(run.model, run.params, run.data, run.key("test"), sequences)


DRAW: dict[str, "Callable[[Mapping[str, Run], argparse.Namespace], dict[str, Figure | str]]"] = {
    "lengths": _lengths,
    "timescales": _timescales,
    "gradient": _gradient,
    "operands": _operands,
    "gates": _gates,
    "task": _task,
}


def _one(runs: "Mapping[str, Run]", given: argparse.Namespace) -> "Run":
    if len(runs) > 1:
        raise UserError(f"draw: --figure {given.figure} is of one WORKDIR; got {len(runs)}")
    return next(iter(runs.values()))


def _labels(paths: list[str]) -> dict[str, Path]:
    """The names of runs in a legend, ``NAME=WORKDIR`` or the name of the folder.

    The folders of a sweep have an equals sign as well: what is a folder is no name.
    """
    labels = {}
    for text in paths:
        name, equals, path = text.partition("=")
        if equals and not Path(text).is_dir():
            labels[name] = Path(path)
        else:
            labels[Path(text).name] = Path(text)
    if len(labels) < len(paths):
        raise UserError("draw: two runs have one name; write NAME=WORKDIR")
    return labels


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = FlagParser("draw")
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--figure")
    parser.add_argument("--lengths")
    parser.add_argument("--sequences")
    parser.add_argument("--out")
    given = parser.parse(arguments)
    if not given.runs or "" in given.runs:
        raise UserError("draw: WORKDIR is missing: the folder of a run")
    if given.figure not in NAMES:
        hint = did_you_mean(given.figure, NAMES) if given.figure else ""
        raise UserError(
            f"--figure: must be one of {', '.join(NAMES)}; got {given.figure or 'none'}{hint}"
        )
    if given.lengths is not None:
        if given.figure != "lengths":
            raise UserError(f"--lengths is for --figure lengths; got --figure {given.figure}")
        given.lengths = [_count("--lengths", word) for word in given.lengths.split(",")]
    if given.sequences is not None:
        given.sequences = _count("--sequences", given.sequences)
    if given.out == "":
        raise UserError("--out needs a folder")
    return given


def _count(flag: str, word: str) -> int:
    if not word.strip().isdecimal() or int(word) < 1:
        raise UserError(f"{flag}: must be whole numbers from 1 on; got {word!r}")
    return int(word)
