"""The rows of the results page: the runs of one config, with the names of their arm and setting."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.config.components import find_component
from experiments.config.layer import CELLS, LayerConfig, forget_gate_bias
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.report.arms import Arm, make_sections
from experiments.report.runs import RunResult, SeedResult, find_runs, read_run
from experiments.report.statistics import Times
from experiments.results.declared import GOALS_FILE, Declared
from experiments.results.lengths_file import LENGTHS_FILE, read_errors
from experiments.run.summary import describe_task
from experiments.tasks import Task
from experiments.tasks.lengths import length_field, length_of


@dataclass(frozen=True)
class Row:
    """The runs of one config, with all seeds of them.

    Attributes:
      name: the folder of the run, or the one with several, below the results.
      result: the runs, and the results of their seeds.
      arm: the name of the arm, such as ``"LSTM, chrono"``.
      setting: the fields of the task, such as ``"length 400"``.
      length: the first whole number of these fields, by which rows are ordered; None without one.
      declared: what is said of the row by hand.
      at_lengths: test metrics of every seed at other lengths, by metric and length.
    """

    name: str
    result: Arm
    arm: str
    setting: str
    length: int | None
    declared: Declared
    at_lengths: dict[str, dict[int, list[float]]]

    @property
    def config(self) -> Config:
        """The config, of the first run."""
        return self.result.runs[0].config

    @property
    def task(self) -> Task:
        """The task."""
        return self.config.task

    @property
    def seeds(self) -> list[SeedResult]:
        """The results of all seeds."""
        return self.result.seeds

    @property
    def arm_and_variant(self) -> str:
        """The arm, and the fields of the task but for its length: what rows of a line share."""
        name = length_field(self.task)
        others = [part for part in self.setting.split(", ") if not part.startswith(f"{name} ")]
        return ", ".join([self.arm, *others]) if name else self.arm

    @property
    def is_main(self) -> bool:
        """Whether the row has a goal; others are compared with it."""
        return self.declared.goal is not None

    @property
    def sequences_per_update(self) -> int:
        """Sequences of an update."""
        return self.config.train.sequences_per_update

    def times(self) -> Times:
        """Updates until each seed was solved."""
        return self.result.times_to("solved")


def read_rows(folder: Path, declared: dict[str, Declared]) -> dict[str, list[Row]]:
    """The rows of all runs in a folder, by task.

    Args:
      folder: the folder with the results.
      declared: what is said of the rows by hand, by their names.

    Returns:
      For each task its rows, ordered by length; of one length those with a goal come first.

    Raises:
      UserError: if a run is damaged or not finished, a name is declared that no run has, or two
        rows cannot be told apart.
    """
    runs = [read_run(path) for path in find_runs([folder])] if folder.is_dir() else []
    for run in runs:
        if run.summary is None:
            raise UserError(f"{run.path}: not finished; the results page has finished runs only")
    found: dict[str, list[Row]] = {}
    for section in make_sections(runs) if runs else []:
        rows = [_row(arm, folder, declared) for arm in section.arms]
        found[section.task.name] = sorted(rows, key=_order)
        _check_names(found[section.task.name], folder)
    names = {row.name for rows in found.values() for row in rows}
    for name, row in declared.items():
        if name not in names and (row.task is None or row.setting is None):
            raise UserError(
                f"{folder}: {name} is declared, and there is no run; give task and setting"
            )
    return found


def setting_of(task: Task) -> str:
    """The fields of a task as text, without its name.

    >>> from experiments.tasks import Adding
    >>> setting_of(Adding(length=2000))
    'length 2,000'
    """
    parts = describe_task(task).split(", ")[1:]
    return ", ".join(map(_grouped, parts)) or "as it is"


def arm_of(config: Config) -> str:
    """The cell of a config, and how its forgetting begins; ``T`` is the length of the task.

    >>> from experiments.config.model import model_config
    >>> from experiments.tasks import Adding
    >>> arm_of(Config(task=Adding(length=400), model=model_config(chrono_t_max=400)))
    'LSTM, chrono'
    >>> arm_of(Config(task=Adding(length=400), model=model_config(chrono_t_max=600)))
    'LSTM, chrono to 1.5 T'
    >>> arm_of(Config(task=Adding(), model=model_config("tanh_rnn", layers=2)))
    '2 layers of TanhRNN'
    """
    names = [_layer_name(layer, config.task) for layer in config.model.layers]
    first, *others = dict.fromkeys(names)
    if others:
        return ", then ".join([first, *others])
    return first if len(names) == 1 else f"{len(names)} layers of {first}"


def _layer_name(layer: LayerConfig, task: Task) -> str:
    kind = find_component("cell", layer.cell, CELLS)
    name = getattr(kind, "__name__", layer.cell)
    if layer.preset is not None and layer.preset != "chrono":
        return f"{name}, preset {layer.preset}"
    if layer.chrono_t_max is not None:
        length = length_of(task)
        if layer.chrono_t_max == length:
            return f"{name}, chrono"
        # As a multiple of the length, rows of several lengths are one arm.
        times = f"{layer.chrono_t_max / length:.3g} T" if length else f"{layer.chrono_t_max:,.0f}"
        return f"{name}, chrono to {times}"
    if (init := getattr(layer, "bias_init", None)) is not None:
        return f"{name}, {init}"
    default = forget_gate_bias(kind)
    bias = layer.forget_bias if layer.forget_bias is not None else getattr(default, "value", None)
    return name if bias is None else f"{name}, forget bias {bias:g}"


def _row(arm: Arm, folder: Path, declared: dict[str, Declared]) -> Row:
    name = _name([run.path for run in arm.runs], folder)
    said, config = declared.get(name, Declared()), arm.runs[0].config
    return Row(
        name=name,
        result=arm,
        arm=said.arm or arm_of(config),
        setting=setting_of(config.task),
        length=length_of(config.task),
        declared=said,
        at_lengths=_at_lengths(arm.runs),
    )


def _check_names(rows: list[Row], folder: Path) -> None:
    """Raise if two rows have one setting and one arm; those of 1997 have the paper's names."""
    seen: dict[tuple[str, str], str] = {}
    for row in rows:
        if row.declared.paper is None:
            other = seen.setdefault((row.setting, row.arm), row.name)
            if other != row.name:
                raise UserError(
                    f"{folder / GOALS_FILE}: {other} and {row.name} are both {row.setting},"
                    f" {row.arm}; give one of them another arm"
                )


def _at_lengths(runs: list[RunResult]) -> dict[str, dict[int, list[float]]]:
    """The metrics at other lengths of the seeds of all runs.

    Raises:
      UserError: if a file is damaged, or has another number of seeds than its run.
    """
    found: dict[str, dict[int, list[float]]] = {}
    for run in runs:
        path = run.path / LENGTHS_FILE
        for metric, lengths in read_errors(path).items():
            for length, values in lengths.items():
                if len(values) != len(run.seeds):
                    raise UserError(
                        f"{path}: {metric} at length {length} has {len(values)} values; the run"
                        f" has {len(run.seeds)} seeds"
                    )
                found.setdefault(metric, {}).setdefault(length, []).extend(values)
    return found


def _name(paths: list[Path], folder: Path) -> str:
    """The folder of the runs below the results: their own, or the one that has all of them."""
    common = Path(os.path.commonpath(paths))
    # Runs side by side among the others have the name of the first.
    return (paths[0] if common == folder else common).relative_to(folder).as_posix()


def _order(row: Row) -> tuple[float, str, bool, str]:
    length = np.inf if row.length is None else row.length
    return (length, row.setting, not row.is_main, row.arm)


def _grouped(text: str) -> str:
    """A field and its value, with groups of digits: ``length 2000`` is ``length 2,000``."""
    name, _, value = text.rpartition(" ")
    return f"{name} {int(value):,}" if value.isdigit() else text
