"""A run from its folder, for notebooks and scripts: model, parameters, metrics, task."""

import dataclasses
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import jax
import numpy as np
from jaxtyping import Array, Float, Int
from pydantic import ValidationError

from experiments.config.schema import Config
from experiments.config.sections import leaves, message
from experiments.config.yaml_file import read_yaml
from experiments.errors import UserError
from experiments.inspection.at_once import sequences_at_once
from experiments.inspection.sequence import SequenceTrace, trace_sequence
from experiments.model import Model, ModelParams, make_model
from experiments.numbers import mean_and_spread
from experiments.run.checkpoints import TrainingProgress
from experiments.run.metrics_columns import columns, rows
from experiments.run.summary import describe_task
from experiments.run.workdir import Workdir
from experiments.tasks import Split, Task
from experiments.training.data import load_data
from experiments.training.keys import data_key, init_key
from experiments.training.optimizer import evaluation_params
from experiments.training.train_step import TrainState, make_train_functions
from lstm_jax.did_you_mean import did_you_mean, unknown_arguments
from lstm_jax.transforms.stack import Stack
from lstm_jax.types import PRNGKey, PyTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def load_run(path: str | os.PathLike[str], seed: int | None = None) -> "Run":
    """Load a run from its folder: the newest checkpoint, the config, and what was measured.

    A run that is not finished is loaded as well, as far as it was saved. Where the config names a
    task, a cell or an optimizer of one's own, its module is imported: from the current folder, the
    environment, or a folder above that of the run, which is then added to ``sys.path``.

    Args:
      path: the workdir of the run.
      seed: the seed whose parameters are `Run.params`; the first when not given.

    Returns:
      The run.

    Raises:
      FileNotFoundError: if there is no run in the folder, or no checkpoint of it yet.
      ValueError: if a file of the run is damaged, or it has no such seed.
    """
    folder = Path(path)
    if not (folder / "config.yaml").is_file():
        raise FileNotFoundError(f"load_run: {_no_run(folder)}")
    with _as_value_error("load_run"):
        workdir = Workdir.existing(folder)
        _find_own_modules(folder)
        config = workdir.config()
        restored = workdir.checkpoints.restore(jax.eval_shape(make_train_functions(config).init))
        if restored is None:
            raise FileNotFoundError(
                f"load_run: {folder} has no checkpoint yet; there is one after"
                f" {config.train.checkpoint_every:,} updates"
            )
        run = Run(
            path=folder,
            config=config,
            states=restored[0],
            progress=restored[1],
            records=tuple(workdir.metrics.read()),
            summary=workdir.summary(),
            environment=workdir.environment(),
            seed=config.seed,
        )
    return run if seed is None else run.of_seed(seed)


@dataclass(frozen=True, eq=False)
class Run:
    """A run; `load_run` makes it. ``N`` is the number of seeds.

    Attributes:
      path: the workdir.
      config: the config.
      states: the last `TrainState` of every seed, leaves ``[N, ...]``.
      progress: the updates done, times, and when each seed was solved, stopped or diverged.
      records: the records of metrics.jsonl.
      summary: the content of summary.json, or None if the run is not finished.
      environment: the content of environment.json.
      seed: the seed whose parameters are `params`.
    """

    path: Path
    config: Config
    states: TrainState = field(repr=False)
    progress: TrainingProgress = field(repr=False)
    records: tuple[dict[str, Any], ...] = field(repr=False)
    summary: dict[str, Any] | None = field(repr=False)
    environment: dict[str, Any] | None = field(repr=False)
    seed: int

    @property
    def task(self) -> Task:
        """The task."""
        return self.config.task

    @cached_property
    def model(self) -> Model:
        """The model, without parameters; the recurrent cell is `model.cell`."""
        return make_model(self.config.model, self.task)

    @cached_property
    def data(self) -> PyTree:
        """The data that the task samples from."""
        with _as_value_error("data"):
            return load_data(self.config)

    @property
    def seeds(self) -> range:
        """The seeds."""
        return range(self.config.seed, self.config.seed + self.config.seeds)

    @cached_property
    def params(self) -> ModelParams:
        """The parameters of `seed`: the averaged ones where the optimizer averages them.

        Those of the last update are in `states`.
        """
        return jax.tree.map(lambda leaf: leaf[self.seed - self.config.seed], self.params_of_seeds)

    @cached_property
    def params_of_seeds(self) -> ModelParams:
        """The parameters of all seeds, leaves ``[N, ...]``."""
        return evaluation_params(self.config.optimizer, self.states.opt_state, self.states.params)

    @cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """What was measured in training, by name.

        Returns:
          ``"update"`` and ``"sequences"`` ``[R]`` for ``R`` records; ``"loss"``, ``"grad_norm"``
          and what else has a value per seed ``[R, N]``, NaN where a seed had stopped.
        """
        return columns([{k: v for k, v in r.items() if k != "validation"} for r in self.records])

    @cached_property
    def validation(self) -> dict[str, np.ndarray]:
        """What was measured on held-out sequences in training, by name.

        Returns:
          ``"update"`` ``[E]`` for ``E`` evaluations; the metrics of the task ``[E, N]``, NaN where
          a seed had stopped.
        """
        found = [
            {"update": record["update"], **record["validation"]}
            for record in self.records
            if "validation" in record
        ]
        return columns(found)

    @cached_property
    def initial_params(self) -> ModelParams:
        """The parameters of `seed` before the first update."""
        return self.model.init(init_key(self.seed))

    def key(self, split: Split) -> PRNGKey:
        """The random key from which the sequences of a split are drawn."""
        return data_key(split, self.seed)

    def rows(self) -> list[dict[str, Any]]:
        """The records as flat rows, one for each update and seed: ``pandas.DataFrame(run.rows())``.

        Returns:
          Mappings with ``"update"``, ``"seed"``, ``"loss"``, ``"validation.mse"``, ...
        """
        return rows(self.records, self.seeds)

    def of_seed(self, seed: int) -> Self:
        """The same run with the parameters of another seed.

        Raises:
          ValueError: if it has no such seed.
        """
        if seed not in self.seeds:
            raise ValueError(
                f"of_seed: seed must be from {self.seeds[0]} to {self.seeds[-1]}; got {seed}"
            )
        return dataclasses.replace(self, seed=seed)

    def predict(
        self, inputs: Any, lengths: Int[Array, " B"] | None = None
    ) -> Float[Array, "T B O"]:
        """The outputs of the model.

        Args:
          inputs: features ``[T, B, I]``, or class indices ``[T, B]``.
          lengths: valid steps of every sequence; None if all are.

        Returns:
          The outputs of every step.
        """
        return self.model.apply(self.params, jax.numpy.asarray(inputs), lengths)

    def evaluate(
        self, split: Split = "test", sequences: int | None = None, **task_fields: Any
    ) -> dict[str, np.ndarray]:
        """Evaluate all seeds on held-out sequences, which are the same for all.

        Args:
          split: ``"test"`` or ``"validation"``.
          sequences: number of sequences, of which long ones are read a few at a time; that of the
            config when not given.
          **task_fields: fields of the task to change: ``run.evaluate(length=800)``.

        Returns:
          The metrics of the task ``[N]``.

        Raises:
          TypeError: if the task has no such field.
          ValueError: if a value is not allowed, or the task with it does not fit the model.
        """
        config = self._changed("evaluate", task_fields, sequences)
        data = self._data_of("evaluate", config)
        metrics = make_train_functions(config).evaluate(data, split, self.params_of_seeds)
        return jax.tree.map(np.asarray, metrics)

    def trace(self, sequence: int = 0, split: Split = "test", **task_fields: Any) -> SequenceTrace:
        """The states and gates of all layers over one held-out sequence.

        Args:
          sequence: its index among those that `evaluate` uses.
          split: ``"test"`` or ``"validation"``.
          **task_fields: as in `evaluate`.

        Returns:
          The trace; of a model with one layer, ``run.trace().gates.f`` are its forget gates.

        Raises:
          TypeError, ValueError: as `evaluate`; also if there is no such sequence.
        """
        config = self._changed("trace", task_fields)
        count = config.eval.sequences
        if not 0 <= sequence < count:
            raise ValueError(f"trace: sequence must be from 0 to {count - 1}; got {sequence}")
        data = self._data_of("trace", config)
        model = make_model(config.model, config.task)
        return trace_sequence(config, model, self.params, data, split, sequence)

    def draw_gates(
        self, sequence: int = 0, units: int = 12, split: Split = "test", **task_fields: Any
    ) -> "Figure":
        """Draw the inputs, gates, cell state and outputs over one held-out sequence.

        Args:
          sequence, split, **task_fields: as in `trace`.
          units: number of units of each layer to draw, those whose memory changes most.

        Returns:
          A figure of Matplotlib, which a notebook shows.
        """
        from experiments.inspection.gates_figure import draw_gates

        return draw_gates(self.trace(sequence, split, **task_fields), units)

    def _changed(
        self, function: str, task_fields: dict[str, Any], sequences: int | None = None
    ) -> Config:
        """The config with other fields of the task, and another number of held-out sequences."""
        names = [f.name for f in dataclasses.fields(self.task) if f.name != "name"]  # type: ignore[arg-type]
        if (error := unknown_arguments(function, task_fields, names)) is not None:
            raise error
        config = self.config
        try:
            if task_fields:
                task = dataclasses.replace(self.task, **task_fields)  # type: ignore[type-var]
                config = dataclasses.replace(config, task=task)
            if sequences is not None:
                steps = getattr(config.task, "length", 1) * len(self.seeds)
                part = sequences_at_once(steps, max(1, sequences), config.eval.batch_size)
                held_out = dataclasses.replace(config.eval, sequences=sequences, batch_size=part)
                config = dataclasses.replace(config, eval=held_out)
        except ValidationError as error:
            (detail, *_) = error.errors(include_url=False)
            name = ".".join(map(str, detail["loc"]))
            raise ValueError(
                f"{function}: {name + ': ' if name else ''}{message(detail)}"
            ) from None
        model = make_model(config.model, config.task)
        if _shapes(jax.eval_shape(model.init, jax.random.key(0))) != _shapes(self.params):
            changed = ", ".join(f"{name}={value!r}" for name, value in task_fields.items())
            raise ValueError(
                f"{function}: the model of this run does not fit a task with {changed}"
            )
        return config

    def _data_of(self, function: str, config: Config) -> PyTree:
        if config == self.config:
            return self.data
        with _as_value_error(function):
            return load_data(config)

    def __repr__(self) -> str:
        done, updates = self.progress.update, self.config.train.updates
        count = sum(leaf.size for leaf in jax.tree.leaves(self.params))
        seeds = f"seed {self.seeds[0]}"
        if len(self.seeds) > 1:
            seeds = f"seeds {self.seeds[0]} to {self.seeds[-1]}; params of seed {self.seed}"
        state = "finished" if self.summary else "not finished"
        cell: Any = self.model.cell
        model = ",\n           ".join(map(repr, cell.cells if isinstance(cell, Stack) else [cell]))
        lines = [
            f"Run of {describe_task(self.task)}, in {self.path}",
            f"  model    {model}, {count:,} parameters",
            f"  trained  {done:,} of at most {updates:,} updates, {state}; {seeds}",
        ]
        for name, value in (self.summary or {"test": {}})["test"].items():
            values = [v for v in value["seeds"] if v is not None]
            lines.append(f"  test     {name} {mean_and_spread(values)}" if values else "")
        return "\n".join(filter(None, lines))


def _no_run(folder: Path) -> str:
    """Why a folder is not that of a run, and which runs are near."""
    inside = _runs_in(folder)
    if inside:
        shown = ", ".join(map(str, inside[:8])) + (", ..." if len(inside) > 8 else "")
        return f"{folder} has no config.yaml of a run; there are the runs {shown}"
    hint = did_you_mean(folder, map(str, _runs_in(folder.parent)))
    if folder.exists():
        return f"{folder} is not the folder of a run: it has no config.yaml{hint}"
    return f"there is no folder {folder}{hint}"


def _runs_in(folder: Path) -> list[Path]:
    try:
        return sorted(path.parent for path in folder.glob("*/config.yaml"))
    except OSError:
        return []


def _find_own_modules(folder: Path) -> None:
    """Add the folder above a run that has a module named in its config to ``sys.path``."""
    for value in leaves(read_yaml(folder / "config.yaml")).values():
        name = value.partition(":")[0].partition(".")[0] if isinstance(value, str) else ""
        if ":" not in str(value) or not name.isidentifier() or importlib.util.find_spec(name):
            continue
        for above in folder.resolve().parents:
            if (above / f"{name}.py").is_file() or (above / name / "__init__.py").is_file():
                sys.path.append(str(above))
                break


@contextmanager
def _as_value_error(function: str) -> Iterator[None]:
    """Raise errors for users of the command line as those of a function."""
    try:
        yield
    except UserError as error:
        raise ValueError(f"{function}: {error}") from error


def _shapes(params: PyTree) -> Any:
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), params)
