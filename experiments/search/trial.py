"""One trial of a search: a run in a workdir of its own, stopped early where it is poor."""

import math
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optuna
from optuna.trial import TrialState

from experiments.config.schema import Config
from experiments.devices.mesh import Placement
from experiments.errors import Interrupted, TrainingFailed, UserError
from experiments.run.workdir import Workdir
from experiments.search.spec import SearchSpec
from experiments.search.stale import OWNER, RESUMES, take_over, this_process, trial_path
from experiments.search.study import make_sampler, suggest
from experiments.sinks.sinks import Sinks
from experiments.sweep.points import command_of
from experiments.training.data import load_data
from experiments.training.memory import memory_errors
from experiments.training.signals import CaughtSignal
from experiments.training.train_step import make_train_functions
from experiments.training.trainer import Trainer
from experiments.training.training_loop import finish_run
from lstm_jax.did_you_mean import did_you_mean

COUNTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
COMMAND, REASON = "command", "reason"


class WithdrawnError(Exception):
    """A trial that is not needed: other workers have begun the last ones meanwhile."""


class Objective:
    """What a study optimizes: trains the config of a trial and returns its validation metric.

    Args:
      spec: the search.
      folder: its folder.
      trials: the number of trials in all.
      caught: the signal that stops the training.
      figures: whether to draw the figures of every finished trial.
    """

    def __init__(
        self, spec: SearchSpec, folder: Path, trials: int, caught: CaughtSignal, *, figures: bool
    ) -> None:
        self.spec, self.folder, self.trials = spec, folder, trials
        self.caught, self.figures = caught, figures

    def __call__(self, trial: optuna.Trial) -> float:
        """Train one trial.

        Raises:
          optuna.TrialPruned: if it is poor, diverges, or its values do not fit together.
          WithdrawnError: if there are enough trials.
          Interrupted: if a signal arrived.
          TrainingFailed: if it cannot be trained.
        """
        trial.set_user_attr(OWNER, this_process())
        study = trial.study
        earlier = [t for t in study.get_trials(deepcopy=False, states=COUNTED)
                   if t.number < trial.number]  # fmt: skip
        if len(earlier) >= self.trials:
            raise WithdrawnError
        study.sampler = make_sampler(self.spec, trial.number)
        values = suggest(trial, self.spec.fields)
        path = trial_path(self.folder, trial.number)
        command = command_of(self.spec.base, values)
        command = command or f"python -m experiments train {path / 'config.yaml'}"
        trial.set_user_attr(COMMAND, command)
        try:
            config = self.spec.config(values)
        except UserError as error:
            raise self._pruned(trial, str(error).splitlines()[0]) from None
        path.parent.mkdir(parents=True, exist_ok=True)
        take_over(self.folder, trial.user_attrs.get(RESUMES, []), path)
        path.mkdir(exist_ok=True)
        with memory_errors(config, "other trials are intact"):
            return self._train(trial, config, path, command)

    def _train(self, trial: optuna.Trial, config: Config, path: Path, command: str) -> float:
        workdir = Workdir.of(path, config)
        with workdir.locked():
            workdir.begin(config)
            latest = LatestMetric(self.spec.metric)
            data, placement = load_data(config), Placement.of(config)
            functions = make_train_functions(config, placement=placement)
            trainer = Trainer(config, workdir, functions, data, Sinks({"search": latest}))
            for record in workdir.metrics.read():
                latest.write(record)
                self._report(trial, latest.value, record["update"])
            try:
                while not trainer.done and not self.caught:
                    trainer.advance(lambda *_: None)
                    self._report(trial, latest.value, trainer.progress.update)
                    if latest.value is not None and not trainer.done and trial.should_prune():
                        trainer.save()
                        raise self._pruned(trial, f"poor at update {trainer.progress.update}")
            except TrainingFailed as error:
                if trainer.healthy.any():
                    raise
                raise self._pruned(trial, str(error).splitlines()[0]) from None
            trainer.save()
            if self.caught and not trainer.done:
                assert self.caught.signum is not None
                raise Interrupted(self.caught.signum, f"stopped at trial {trial.number}")
            if not trainer.healthy.all():
                raise self._pruned(trial, f"{np.sum(~trainer.healthy)} seeds have diverged")
            finish_run(trainer, command, figures=self.figures)
            return float(np.mean(latest.seeds))

    def _report(self, trial: optuna.Trial, value: float | None, update: int) -> None:
        if value is not None:
            trial.report(value, update)

    def _pruned(self, trial: optuna.Trial, reason: str) -> optuna.TrialPruned:
        trial.set_user_attr(REASON, reason)
        return optuna.TrialPruned(reason)


class LatestMetric:
    """A sink that keeps the latest values of one validation metric.

    Args:
      metric: the metric.

    Attributes:
      value: the mean over the seeds in the last record, or None if it has no evaluation.
      seeds: the last value of every seed ``[N]``, also of those that have stopped.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.value: float | None = None
        self.seeds: list[float] = []

    def start(self, workdir: Path, config: Config, update: int) -> None:
        """Nothing has to be begun."""

    def write(self, record: dict[str, Any]) -> None:
        """Keep the values of a record."""
        seeds = record.get("validation", {}).get(self.metric)
        self.value = None
        if seeds is None:
            return
        before = self.seeds or [math.nan] * len(seeds)
        self.seeds = [old if new is None else new for old, new in zip(before, seeds, strict=True)]
        known = [value for value in self.seeds if math.isfinite(value)]
        self.value = sum(known) / len(known) if known else None

    def finish(self, summary: dict[str, Any] | None) -> None:
        """Nothing has to be ended."""


def check_metric(spec: SearchSpec) -> None:
    """Check that the task has the metric, and that there are enough data and devices.

    Raises:
      UserError: if it has not, or there are not.
    """
    config = spec.config(next(spec.examples()))
    data, functions = load_data(config), make_train_functions(config)
    Placement.of(config)
    shapes = jax.eval_shape(
        lambda: functions.evaluate(
            data, "validation", functions.evaluation_params(functions.init())
        )
    )
    if spec.metric not in shapes:
        known = ", ".join(shapes)
        raise UserError(
            f"{spec.path}: metric: must be one of {known}; got {spec.metric}"
            f"{did_you_mean(spec.metric, shapes)}"
        )


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)
