"""One run from its config to its summary: train, resume, stop, test, draw."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax

from experiments.config.schema import Config
from experiments.devices.mesh import Placement
from experiments.errors import Interrupted
from experiments.run import processes
from experiments.run.bundle import Bundle
from experiments.run.figures import draw_figures
from experiments.run.summary import describe_task, summarize
from experiments.run.what_runs import what_runs
from experiments.run.workdir import Workdir
from experiments.sinks.sinks import Sinks
from experiments.training import extension
from experiments.training.data import load_data
from experiments.training.memory import memory_errors
from experiments.training.progress_bar import show_progress
from experiments.training.signals import CaughtSignal, agree, catch_signals
from experiments.training.train_step import make_train_functions
from experiments.training.trainer import Trainer


def train_run(
    config: Config, path: Path, command: str, sinks: Sinks | None = None
) -> dict[str, Any]:
    """Train a config, or resume its run, and write all results to the workdir.

    Args:
      config: the config to train.
      path: the workdir.
      command: the command line for the summary, without the workdir.
      sinks: where the records go, besides metrics.jsonl.

    Returns:
      The summary, as in summary.json.

    Raises:
      UserError: if the workdir belongs to another config, or the data is missing.
      TrainingFailed: if all seeds diverge, or the memory does not suffice.
      Interrupted: if a signal arrived; what was trained is saved.
    """
    workdir = Workdir.of(path, config, may_differ=[extension.FIELD])
    with processes.together():
        if processes.is_first():
            workdir.restore_config()
    finished = workdir.summary()
    if finished is not None and extension.other_updates(workdir, config) is None:
        processes.say(f"this run is finished, in {path}:")
        return finished
    with memory_errors(config, f"what was saved in {path} is intact"):
        with processes.together():
            data, placement = load_data(config), Placement.of(config)
        with workdir.locked(), catch_signals() as caught:
            with processes.together():
                if processes.is_first():
                    extension.extend(workdir, config)
            workdir.begin(config)
            processes.say(f"{describe_task(config.task)}: compiling, which takes some seconds")
            functions = make_train_functions(config, placement=placement)
            trainer = Trainer(config, workdir, functions, data, sinks)
            dtype = jax.tree.leaves(trainer.states.params)[0].dtype.name
            processes.say(what_runs(config.model.layers, trainer.environment, dtype))
            if (unused := placement.unused()) is not None:
                processes.say(unused)
            summary = None
            if processes.is_first():
                trainer.sinks.start(path, config, trainer.progress.update)
            try:
                _train(trainer, caught)
                with caught.stops_at_once(
                    f"all updates are done and saved in {path};"
                    " run the same command again to test the model and draw the figures"
                ):
                    processes.say(
                        f"testing on {config.eval.sequences:,} sequences, and drawing the figures"
                    )
                    summary = finish_run(trainer, command)
                return summary
            finally:
                if processes.is_first():
                    trainer.sinks.finish(summary)


def _train(trainer: Trainer, caught: CaughtSignal) -> None:
    """Train until all updates are done, every seed has ended, or a signal arrives."""
    config, path = trainer.config, trainer.workdir.path
    name = f"{config.task.name} seed {config.seed}"
    if config.seeds > 1:
        name += f" to {config.seed + config.seeds - 1}"
    if trainer.progress.update:
        processes.say(f"resuming from update {trainer.progress.update} in {path}")
    elif processes.is_first():
        Bundle.clear(path)
    show_none = nullcontext(lambda update, loss, metrics: None)
    progress = show_progress(name, trainer.progress.update, config.train.updates)
    with progress if processes.is_first() else show_none as show:
        while not trainer.done and not agree(caught):
            trainer.advance(show)
    trainer.save()
    if not trainer.healthy.any():
        raise trainer.failure()
    if not trainer.done and caught.signum is not None:
        update = trainer.progress.update
        state = f"at update {update}; the state is saved in {path}" if update else "before update 1"
        again = "resume" if update else "start"
        stopped = f"stopped {state}; run the same command again to {again}"
        raise processes.in_all(Interrupted(caught.signum, stopped))


def finish_run(trainer: Trainer, command: str, *, figures: bool = True) -> dict[str, Any]:
    """Test the trained model, draw the figures, and write the summary.

    Args:
      trainer: a run whose training has ended.
      command: the command line for the summary.
      figures: whether to draw the figures.

    Returns:
      The summary.

    Raises:
      TrainingFailed: if all seeds have diverged.
    """
    config, workdir = trainer.config, trainer.workdir
    test = trainer.test()
    if not trainer.healthy.any():
        raise trainer.failure()
    summary = summarize(
        config, trainer.progress, trainer.updates, test, trainer.baselines(), command
    )
    # The figures show the first seed that has not diverged.
    first = int(trainer.healthy.argmax())
    params = jax.tree.map(lambda leaf: leaf[first:], trainer.placement.to_host(trainer.params))
    summary["figures"] = []
    with processes.together():
        if processes.is_first():
            if figures:
                draw_figures(config, params, trainer.data, workdir, summary)
            workdir.write_summary(summary)
    return summary
