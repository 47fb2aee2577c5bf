"""The host's side of a run: dispatch, log, evaluate, checkpoint, resume, stop."""

import functools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import figures
from experiments.checkpoints import Progress
from experiments.config import Config
from experiments.errors import Interrupted, TrainingFailed, UserError
from experiments.keys import data_key
from experiments.progress import Show, reporter
from experiments.signals import caught_signals
from experiments.summary import summarize
from experiments.tasks import Split, goals
from experiments.train import Stats, Training, make_training
from experiments.workdir import Workdir
from lstm_jax.types import PyTree


def train(config: Config, path: Path, command: str) -> dict[str, Any]:
    """Train, or go on where the same config stopped, and write everything to the workdir.

    Args:
      config: what to train.
      path: the workdir.
      command: the command to name in the summary, which gives the same result in any workdir.

    Returns:
      The summary, as in summary.json.

    Raises:
      UserError: when the workdir holds another config, or data is missing.
      TrainingFailed: when a loss or gradient is not finite.
      Interrupted: when a signal arrived; the state is saved.
    """
    workdir = Workdir.of(path, config)
    finished = workdir.summary()
    if finished is not None:
        print(f"{path} holds this run, finished:", file=sys.stderr)
        return finished
    data = load_data(config)
    workdir.begin(config)
    with workdir.locked(), caught_signals() as caught:
        run = Run(config, workdir, make_training(config), data)
        workdir.write_environment()
        if run.progress.update:
            print(f"going on from update {run.progress.update} in {path}", file=sys.stderr)
        name = f"{config.task.name} seed {config.seed}"
        if config.seeds > 1:
            name += f" to {config.seed + config.seeds - 1}"
        with reporter(name, run.progress.update, config.train.updates) as show:
            while not run.done and not caught:
                run.advance(show)
        run.save()
        if not run.done and caught.signum is not None:
            raise Interrupted(
                caught.signum,
                f"stopped at update {run.progress.update}; the state is saved in {path},"
                " and the same command goes on from there",
            )
        summary = summarize(config, run.progress, run.test(), run.baselines(), command)
        figures.draw(config, run.states.params, run.data, workdir, summary)
        workdir.write_summary(summary)
        return summary


def evaluate(workdir: Workdir, config: Config) -> tuple[int, dict[str, np.ndarray]]:
    """Test what a run has trained so far, on the data that `config` describes.

    Args:
      workdir: the run's folder.
      config: the run's config, with the settings of the task and the evaluation to test with.

    Returns:
      The updates done, and the metrics of every seed ``[N]``.

    Raises:
      UserError: when there is no checkpoint, or too little data.
    """
    data = load_data(config)
    # The checkpoint has the shapes of the config that was trained.
    like = jax.eval_shape(make_training(workdir.config()).init)
    restored = workdir.checkpoints.restore(like) if workdir.checkpoints_path.exists() else None
    if restored is None:
        raise UserError(f"{workdir.path}: holds no checkpoint yet")
    states, progress = restored
    metrics = make_training(config).evaluate(data, "test", states.params)
    return progress.update, jax.tree.map(np.asarray, metrics)


class Run:
    """A run in progress: the states on the device, and what is known about them on the host."""

    def __init__(self, config: Config, workdir: Workdir, training: Training, data: PyTree) -> None:
        self.config, self.workdir, self.training, self.data = config, workdir, training, data
        self._compiled: set[object] = set()
        states = training.init()
        restored = workdir.checkpoints.restore(states)
        if restored is None:
            nothing: list[int | None] = [None] * config.seeds
            self.states = states
            self.progress = Progress(
                solved_at=list(nothing), mastered_at=list(nothing), stopped_at=list(nothing)
            )
        else:
            self.states, self.progress = restored
        workdir.rewind_metrics(self.progress.update)

    @property
    def active(self) -> np.ndarray:
        """The seeds that still train ``[N]``."""
        return np.array([at is None for at in self.progress.stopped_at])

    @property
    def done(self) -> bool:
        """Whether all updates are done, or every seed has stopped early."""
        return self.progress.update >= self.config.train.updates or not self.active.any()

    def advance(self, show: Show) -> None:
        """Train up to the next line of metrics.jsonl; evaluate and save where it is time."""
        began = time.perf_counter()
        train, progress, active = self.config.train, self.progress, self.active
        start = progress.update
        end = min(start - start % train.log_every + train.log_every, train.updates)
        with self._device_time(end - start):
            self.states, stats = jax.block_until_ready(
                self.training.run(self.data, self.states, jnp.asarray(active), end - start)
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
            self._note_goals(metrics, active)
        self.workdir.append_metrics(record)
        # The time is counted before the checkpoint, so that the checkpoint holds it.
        progress.seconds += time.perf_counter() - began
        if end % train.checkpoint_every == 0:
            began = time.perf_counter()
            self.save()
            progress.seconds += time.perf_counter() - began
        metrics = _describe(record["validation"]) if evaluated else None
        show(end, _describe({"loss": record["loss"]}), metrics)

    def save(self) -> None:
        """Save a checkpoint of where the run is."""
        if self.progress.update:
            self.workdir.checkpoints.save(self.states, self.progress)

    def test(self) -> dict[str, np.ndarray]:
        """The metrics of every seed ``[N]`` on sequences that nothing was chosen by."""
        metrics = self._evaluate("test")
        self._check_finite(metrics, np.ones(self.config.seeds, bool), "on the test sequences")
        return metrics

    def baselines(self) -> dict[str, float]:
        """What the task's metric is without memory."""
        return self.config.task.baselines(self.data, "test")

    def _evaluate(self, split: Split) -> dict[str, np.ndarray]:
        return jax.tree.map(
            np.asarray, self.training.evaluate(self.data, split, self.states.params)
        )

    @contextmanager
    def _device_time(self, kind: object) -> Iterator[None]:
        """Count the time that Python waits inside; the first of a kind is a compilation."""
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        if kind in self._compiled:
            self.progress.device_seconds += seconds
        else:
            self.progress.compile_seconds += seconds
            self._compiled.add(kind)

    def _note_goals(self, metrics: dict[str, np.ndarray], active: np.ndarray) -> None:
        progress = self.progress
        for name, goal in goals(self.config.task).items():
            reached_at = getattr(progress, f"{name}_at")
            for i in np.flatnonzero(goal.reached(metrics) & active):
                if reached_at[i] is None:
                    reached_at[i] = progress.update
                if name == self.config.train.stop_when:
                    progress.stopped_at[i] = progress.update

    def _check_stats(self, stats: Stats, active: np.ndarray, start: int) -> None:
        for offset in range(stats.loss.shape[1]):
            values = {name: series[:, offset] for name, series in stats._asdict().items()}
            self._check_finite(values, active, f"at update {start + offset + 1}")

    def _check_finite(self, metrics: dict[str, np.ndarray], active: np.ndarray, when: str) -> None:
        """Stop at the first value of an active seed that is no number any more."""
        for name, values in metrics.items():
            for i in np.flatnonzero(~np.isfinite(values) & active):
                raise TrainingFailed(
                    f"{name} became {values[i]} {when} (seed {self.config.seed + i});"
                    f" what was logged and saved before stays in {self.workdir.path}."
                    " A lower optimizer.learning_rate may help, with another --workdir."
                )


def load_data(config: Config) -> PyTree:
    """What the task samples from, checked before hours of training rely on it.

    Raises:
      UserError: when there is no such data, or too little for the config.
    """
    task = config.task
    held_out = config.eval.sequences
    counts: dict[Split, int] = {
        "train": config.train.batch_size,
        "validation": held_out,
        "test": held_out,
    }
    try:
        data = task.load()
        for split, count in counts.items():
            key = data_key(split, config.seed)
            jax.eval_shape(
                functools.partial(task.sample, split=split, batch_size=count), data, key=key
            )
    except ValueError as error:
        raise UserError(str(error)) from None
    return data


def _of_active(values: np.ndarray, active: np.ndarray) -> list[float | None]:
    """One value a seed, None for a seed that has stopped."""
    return [float(v) if on else None for v, on in zip(values, active, strict=True)]


def _describe(values: dict[str, list[float | None]]) -> str:
    """Names and values as one line, means over the seeds that still train."""
    return "  ".join(
        f"{name} {np.mean([v for v in per_seed if v is not None]):.4g}"
        for name, per_seed in values.items()
    )
