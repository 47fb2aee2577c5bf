"""The state of a run while it trains: it advances by one record of metrics.jsonl at a time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from experiments.config.schema import Config
from experiments.errors import TrainingFailed
from experiments.model import ModelParams, make_model
from experiments.run import processes
from experiments.run.bundle import Bundle
from experiments.run.checkpoints import TrainingProgress
from experiments.run.what_runs import implementations
from experiments.run.workdir import Workdir
from experiments.sinks.sinks import Sinks
from experiments.tasks import Split, goals
from experiments.training.divergence import (
    Divergence,
    divergence_of,
    failure,
    first_bad_metrics,
    first_bad_updates,
    gradient_norms,
)
from experiments.training.loss_watch import LossWatch
from experiments.training.progress_bar import ShowProgress
from experiments.training.train_step import TrainFunctions, UpdateStats
from lstm_jax.types import PyTree


class Trainer:
    """The states of all lanes on the device, and their progress on the host.

    Args:
      config: the config to train.
      workdir: the workdir; if it has a checkpoint, training resumes from the latest. What runs is
        added to its environment.json.
      functions: the jitted functions of the config.
      data: the data of the task.
      sinks: where the records go, besides metrics.jsonl.
    """

    def __init__(
        self,
        config: Config,
        workdir: Workdir,
        functions: TrainFunctions,
        data: PyTree,
        sinks: Sinks | None = None,
    ) -> None:
        self.config, self.workdir, self.functions = config, workdir, functions
        self.lanes, self.placement = functions.lanes, functions.placement
        self.data, self._data = data, self.placement.replicate(data)
        self.sinks = sinks or Sinks()
        self._compiled: set[object] = set()
        self._watch_loss = LossWatch(self.lanes)
        states = functions.init()
        at_start = states, TrainingProgress.at_start(len(self.lanes))
        self.states, self.progress = workdir.resume(states) or at_start
        model = self.placement.model(make_model(config.model, config.task))
        self.environment = workdir.write_environment(
            implementations(model, config.task, data, config.train.batch_size),
            self.placement.devices,
        )

    @property
    def active(self) -> np.ndarray:
        """The lanes that still train ``[N]``."""
        ended = zip(self.progress.stopped_at, self.progress.diverged, strict=True)
        return np.array([stopped is None and bad is None for stopped, bad in ended])

    @property
    def healthy(self) -> np.ndarray:
        """The lanes that have not diverged ``[N]``."""
        return np.array([bad is None for bad in self.progress.diverged])

    @property
    def done(self) -> bool:
        """Whether all updates are done, or every lane has ended."""
        return self.progress.update >= self.config.train.updates or not self.active.any()

    @property
    def updates(self) -> list[int]:
        """The updates that each lane has done ``[N]``."""
        return np.asarray(self.states.update).tolist()

    @property
    def params(self) -> ModelParams:
        """The parameters of every lane ``[N, ...]`` for evaluation, on the devices."""
        return self.functions.evaluation_params(self.states)

    def advance(self, show: ShowProgress) -> None:
        """Train until the next line of metrics.jsonl; evaluate and save if it is due.

        Raises:
          TrainingFailed: if all lanes have diverged.
        """
        began = time.perf_counter()
        train, progress, active = self.config.train, self.progress, self.active
        start = progress.update
        end = min(start - start % train.log_every + train.log_every, train.updates)
        with self._device_time(end - start):
            self.states, stats = jax.block_until_ready(
                self.functions.train_steps(
                    self._data, self.states, self.placement.replicate(active), end - start
                )
            )
        stats = jax.tree.map(np.asarray, stats)
        # A lane that has stopped, on its training sequences, or diverged has done fewer.
        counts = np.where(active, np.asarray(self.states.update) - start, 0)
        bad = first_bad_updates(stats, active)
        self._end(
            {lane: self._divergence(lane, offset, start, stats) for lane, offset in bad.items()}
        )
        if start == 0 and not self.healthy.any():
            # Nothing was trained, so the folder stays free for another config.
            raise self.failure()
        progress.update = end
        self._record_training_goals(active)
        record: dict[str, Any] = {
            "update": end,
            "sequences": end * train.sequences_per_update,
            "loss": _means(stats.loss, counts),
            "grad_norm": _means(stats.grad_norm, counts),
        }
        self._watch_loss(end, record["loss"], stats.loss[:, 0])
        evaluated = end % train.eval_every == 0 or end == train.updates
        if evaluated:
            with self._device_time("validation"):
                metrics = self._evaluate("validation")
            self._end(first_bad_metrics(metrics, self.active, end))
            record["validation"] = {k: _of_active(v, self.active) for k, v in metrics.items()}
            if train.window is None:
                self._record_goals(metrics, self.active)
        if processes.is_first():
            self.workdir.metrics.append(record)
            self.sinks.write(record)
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
        """The metrics of every lane ``[N]`` on test sequences, which select nothing.

        Those of a lane that has diverged are NaN.
        """
        metrics = self._evaluate("test")
        self._end(first_bad_metrics(metrics, self.healthy, self.progress.update))
        return {name: np.where(self.healthy, values, np.nan) for name, values in metrics.items()}

    def baselines(self) -> dict[str, float]:
        """The task's metric for solutions without memory."""
        return self.config.task.baselines(self.data, "test")

    def failure(self) -> TrainingFailed:
        """The error of a run of which all lanes have diverged."""
        return failure(self.config, self.lanes, self.progress, self.workdir.path)

    def _evaluate(self, split: Split) -> dict[str, np.ndarray]:
        return jax.tree.map(np.asarray, self.functions.evaluate(self._data, split, self.params))

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

    def _record_training_goals(self, active: np.ndarray) -> None:
        """Record the goals that lanes have reached on their training sequences."""
        window, progress = self.states.window, self.progress
        for name, at in window.reached_at.items() if window is not None else ():
            reached, reached_at = np.asarray(at), getattr(progress, f"{name}_at")
            for i in np.flatnonzero(active & (reached > 0)):
                reached_at[i] = int(reached[i])
                if name == self.config.train.stop_when:
                    progress.stopped_at[i] = reached_at[i]

    def _divergence(self, lane: int, offset: int, start: int, stats: UpdateStats) -> Divergence:
        """Why a lane diverged in the last dispatch; its last good state is kept in a bundle."""
        details = self.functions.details(self._data, self.states)
        details = jax.tree.map(lambda leaf: np.asarray(leaf)[lane], details)
        loss, grad_norm = float(stats.loss[lane, offset]), float(stats.grad_norm[lane, offset])
        divergence = divergence_of(start + offset + 1, loss, grad_norm, details)
        event = {
            **divergence._asdict(),
            "losses": stats.loss[lane, :offset].tolist(),
            "gradient_norms": {k: f"{v}" for k, v in gradient_norms(details.grads).items()},
        }
        states = self.placement.to_host(self.states)
        state = jax.tree.map(lambda leaf: leaf[lane : lane + 1], states)
        bundle = Bundle.of(self.workdir.path, self.lanes.name(lane), divergence.update)
        try:
            if processes.is_first():
                bundle.write(self.lanes.config(self.config, lane), state, event)
        except OSError as error:
            processes.say(f"{bundle.path}: cannot be written: {error.strerror}")
        return divergence

    def _end(self, diverged: dict[int, Divergence]) -> None:
        """End the lanes that are no longer finite; the others go on."""
        for lane, divergence in diverged.items():
            self.progress.diverged[lane] = divergence._asdict()
        rest = "; the others go on" if self.active.any() else ""
        for lane, divergence in diverged.items():
            processes.say(f"{self.lanes.name(lane)} diverged: {divergence}{rest}")


def _means(series: np.ndarray, counts: np.ndarray) -> list[float | None]:
    """The mean of the first `counts` values of every lane; None without any."""
    lanes = zip(series, counts.tolist(), strict=True)
    # Summed in float64, as the sum of finite values may be infinite, which JSON does not have.
    return [
        float(np.float32(values[:count].mean(dtype=np.float64))) if count else None
        for values, count in lanes
    ]


def _of_active(values: np.ndarray, active: np.ndarray) -> list[float | None]:
    """One value per lane, None for a lane that has ended."""
    return [float(v) if on else None for v, on in zip(values, active, strict=True)]


def _as_line(values: dict[str, list[float | None]]) -> str:
    """Names and values on one line, averaged over the lanes that have one."""
    found = {name: [v for v in lanes if v is not None] for name, lanes in values.items()}
    return "  ".join(f"{name} {np.mean(lanes):.4g}" for name, lanes in found.items() if lanes)
