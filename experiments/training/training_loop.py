"""The training loop on the host: dispatch, log, evaluate, save checkpoints, resume, stop."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config.schema import Config
from experiments.errors import Interrupted, TrainingFailed
from experiments.model import make_model
from experiments.run.atomic_write import write_errors
from experiments.run.checkpoints import TrainingProgress
from experiments.run.figures import draw_figures
from experiments.run.summary import summarize
from experiments.run.what_runs import implementations, what_runs
from experiments.run.workdir import Workdir
from experiments.tasks import Split, goals
from experiments.training.data import load_data
from experiments.training.progress_bar import ShowProgress, show_progress
from experiments.training.signals import catch_signals
from experiments.training.train_step import TrainFunctions, UpdateStats, make_train_functions
from lstm_jax.types import PyTree


def train_run(config: Config, path: Path, command: str) -> dict[str, Any]:
    """Train a config, or resume its run, and write all results to the workdir.

    Args:
      config: the config to train.
      path: the workdir.
      command: the command line for the summary, without the workdir.

    Returns:
      The summary, as in summary.json.

    Raises:
      UserError: if the workdir belongs to another config, or the data is missing.
      TrainingFailed: if a loss, gradient or metric is not finite.
      Interrupted: if a signal arrived; the state is saved.
    """
    workdir = Workdir.of(path, config)
    finished = workdir.summary()
    if finished is not None:
        print(f"this run is finished, in {path}:", file=sys.stderr)
        return finished
    data = load_data(config)
    with workdir.locked(), catch_signals() as caught:
        workdir.begin(config)
        trainer = Trainer(config, workdir, make_train_functions(config), data)
        model, task = make_model(config.model, config.task), config.task
        here = workdir.write_environment(
            implementations(model, task, data, config.train.batch_size)
        )
        layers = [(config.model.cell, config.model.hidden_size)]
        dtype = jax.tree.leaves(trainer.states.params)[0].dtype.name
        print(what_runs(layers, here, dtype), file=sys.stderr)
        if trainer.progress.update:
            print(f"resuming from update {trainer.progress.update} in {path}", file=sys.stderr)
        name = f"{config.task.name} seed {config.seed}"
        if config.seeds > 1:
            name += f" to {config.seed + config.seeds - 1}"
        with show_progress(name, trainer.progress.update, config.train.updates) as show:
            while not trainer.done and not caught:
                trainer.advance(show)
        trainer.save()
        if not trainer.done and caught.signum is not None:
            raise Interrupted(
                caught.signum,
                f"stopped at update {trainer.progress.update}; the state is saved in {path};"
                " run the same command again to resume",
            )
        summary = summarize(config, trainer.progress, trainer.test(), trainer.baselines(), command)
        with write_errors(workdir.figures_path):
            draw_figures(config, trainer.states.params, data, workdir, summary)
        workdir.write_summary(summary)
        return summary


class Trainer:
    """The state of a run while it trains: states on the device, progress on the host.

    Args:
      config: the config to train.
      workdir: the workdir; if it has a checkpoint, training resumes from the latest.
      functions: the jitted functions of the config.
      data: the data of the task.
    """

    def __init__(
        self, config: Config, workdir: Workdir, functions: TrainFunctions, data: PyTree
    ) -> None:
        self.config, self.workdir, self.functions, self.data = config, workdir, functions, data
        self._compiled: set[object] = set()
        states = functions.init()
        at_start = states, TrainingProgress.at_start(config.seeds)
        self.states, self.progress = workdir.resume(states) or at_start

    @property
    def active(self) -> np.ndarray:
        """The seeds that still train ``[N]``."""
        return np.array([at is None for at in self.progress.stopped_at])

    @property
    def done(self) -> bool:
        """Whether all updates are done, or every seed has stopped early."""
        return self.progress.update >= self.config.train.updates or not self.active.any()

    def advance(self, show: ShowProgress) -> None:
        """Train until the next line of metrics.jsonl; evaluate and save if it is due."""
        began = time.perf_counter()
        train, progress, active = self.config.train, self.progress, self.active
        start = progress.update
        end = min(start - start % train.log_every + train.log_every, train.updates)
        with self._device_time(end - start):
            self.states, stats = jax.block_until_ready(
                self.functions.train_steps(self.data, self.states, jnp.asarray(active), end - start)
            )
        stats = jax.tree.map(np.asarray, stats)
        self._check_stats(stats, active, start)
        progress.update = end
        record: dict[str, Any] = {
            "update": end,
            "sequences": end * train.batch_size,
            "loss": _of_active(stats.loss.mean(axis=1), active),
            "grad_norm": _of_active(stats.grad_norm.mean(axis=1), active),
        }
        evaluated = end % train.eval_every == 0 or end == train.updates
        if evaluated:
            with self._device_time("validation"):
                metrics = self._evaluate("validation")
            self._check_finite(metrics, active, f"at update {end}")
            record["validation"] = {k: _of_active(v, active) for k, v in metrics.items()}
            self._record_goals(metrics, active)
        self.workdir.metrics.append(record)
        # Add the time before the checkpoint is saved, so that the checkpoint includes it.
        progress.seconds += time.perf_counter() - began
        if end % train.checkpoint_every == 0:
            began = time.perf_counter()
            self.save()
            progress.seconds += time.perf_counter() - began
        metrics = _as_line(record["validation"]) if evaluated else None
        show(end, _as_line({"loss": record["loss"]}), metrics)

    def save(self) -> None:
        """Save a checkpoint, unless no update has been done."""
        if self.progress.update:
            self.workdir.checkpoints.save(self.states, self.progress)

    def test(self) -> dict[str, np.ndarray]:
        """The metrics of every seed ``[N]`` on test sequences, which select nothing."""
        metrics = self._evaluate("test")
        self._check_finite(metrics, np.ones(self.config.seeds, bool), "on the test sequences")
        return metrics

    def baselines(self) -> dict[str, float]:
        """The task's metric for solutions without memory."""
        return self.config.task.baselines(self.data, "test")

    def _evaluate(self, split: Split) -> dict[str, np.ndarray]:
        return jax.tree.map(
            np.asarray, self.functions.evaluate(self.data, split, self.states.params)
        )

    @contextmanager
    def _device_time(self, kind: object) -> Iterator[None]:
        """Add the time of the block to the progress; the first block of a kind compiles."""
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        if kind in self._compiled:
            self.progress.device_seconds += seconds
        else:
            self.progress.compile_seconds += seconds
            self._compiled.add(kind)

    def _record_goals(self, metrics: dict[str, np.ndarray], active: np.ndarray) -> None:
        progress = self.progress
        for name, goal in goals(self.config.task).items():
            reached_at = getattr(progress, f"{name}_at")
            for i in np.flatnonzero(goal.reached(metrics) & active):
                if reached_at[i] is None:
                    reached_at[i] = progress.update
                if name == self.config.train.stop_when:
                    progress.stopped_at[i] = progress.update

    def _check_stats(self, stats: UpdateStats, active: np.ndarray, start: int) -> None:
        for offset in range(stats.loss.shape[1]):
            values = {name: series[:, offset] for name, series in stats._asdict().items()}
            self._check_finite(values, active, f"at update {start + offset + 1}")

    def _check_finite(self, metrics: dict[str, np.ndarray], active: np.ndarray, when: str) -> None:
        """Raise for the first value of an active seed that is not finite."""
        for name, values in metrics.items():
            for i in np.flatnonzero(~np.isfinite(values) & active):
                raise TrainingFailed(
                    f"{name} became {values[i]} {when} (seed {self.config.seed + i});"
                    f" earlier metrics and checkpoints stay in {self.workdir.path}."
                    " Try a lower optimizer.learning_rate with another --workdir."
                )


def _of_active(values: np.ndarray, active: np.ndarray) -> list[float | None]:
    """One value per seed, None for a seed that has stopped."""
    return [float(v) if on else None for v, on in zip(values, active, strict=True)]


def _as_line(values: dict[str, list[float | None]]) -> str:
    """Names and values on one line, averaged over the seeds that still train."""
    return "  ".join(
        f"{name} {np.mean([v for v in per_seed if v is not None]):.4g}"
        for name, per_seed in values.items()
    )
