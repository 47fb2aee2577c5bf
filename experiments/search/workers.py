"""The workers of a search: processes that train trials of one study until there are enough."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from experiments.errors import Interrupted, TrainingFailed, WriteFailed
from experiments.search.spec import SearchSpec
from experiments.search.stale import OWNER, enqueue_again, requeue_stale, this_process
from experiments.search.study import open_study
from experiments.search.trial import COUNTED, REASON, Objective, WithdrawnError, say
from experiments.training.signals import catch_signals

POLL_SECONDS = 0.1


def work(
    spec: SearchSpec,
    folder: Path,
    storage: str | None,
    trials: int,
    *,
    figures: bool,
    alone: bool = True,
) -> None:
    """Train trials in this process until the study has enough.

    Args:
      spec: the search.
      folder: its folder.
      storage: the URL of a database; None for a journal in the folder.
      trials: the number of trials in all, of all workers.
      figures: whether to draw the figures of every finished trial.
      alone: whether this process was not started by `run_workers`.

    Raises:
      TrainingFailed: if a trial cannot be trained.
      Interrupted: if a signal arrived; the trial goes on when the search does.
    """
    study = open_study(spec, folder, storage)
    with catch_signals(announce=alone) as caught:
        objective = Objective(spec, folder, trials, caught, figures=figures)
        while not caught:
            requeue_stale(study, folder)
            if len(study.get_trials(deepcopy=False, states=COUNTED)) >= trials:
                return
            try:
                study.optimize(
                    objective,
                    n_trials=1,
                    catch=(WithdrawnError,),
                    callbacks=[lambda study, trial: _say_result(spec, trials, study, trial)],
                )
            except (Interrupted, WriteFailed):
                enqueue_again(study, _own(study))
                raise
        assert caught.signum is not None
        raise Interrupted(caught.signum, "stopped between two trials")


def run_workers(words: Sequence[str], workers: int) -> None:
    """Start workers as processes of their own, and wait for them.

    A signal is passed on to all of them, once. They also stop if this process is killed.

    Args:
      words: the words of the command line after ``search``.
      workers: the number of processes.

    Raises:
      TrainingFailed: if all of them failed.
      Interrupted: if a signal arrived, when all have stopped.
    """
    with catch_signals() as caught, ExitStack() as pipes:
        running = {i + 1: pipes.enter_context(_start(words, i + 1)) for i in range(workers)}
        codes: dict[int, int] = {}
        passed_on = False
        try:
            while running:
                for number, process in list(running.items()):
                    if (code := process.poll()) is not None:
                        codes[number] = code
                        del running[number]
                        if code < 0 and not caught:
                            say(f"worker {number} was killed; the others train its trial as well")
                if caught.signum is not None and not passed_on:
                    passed_on = True
                    for process in running.values():
                        process.send_signal(caught.signum)
                time.sleep(POLL_SECONDS)
        finally:
            for process in running.values():
                process.kill()
                process.wait()
    if caught.signum is not None:
        raise Interrupted(caught.signum, "stopped; run the same command again to go on")
    failed = [f"{number}" for number, code in codes.items() if code != 0]
    # A worker that ends well has seen enough trials in the study, whoever trained them.
    if len(failed) == len(codes):
        raise TrainingFailed(
            f"worker {', '.join(failed)} ended early; run the same command again to go on"
        )


def stop_without_parent() -> None:
    """Stop this worker when the process that has started it ends, however it ends."""

    def wait() -> None:
        # Not sys.stdin: its lock would be held when the interpreter shuts down.
        with suppress(OSError):
            while os.read(0, 1024):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _start(words: Sequence[str], number: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "experiments", "search", *words, "--worker", f"{number}"]
    # In a session of its own, a worker gets no signal of the terminal beside the one passed on.
    # Its standard input ends when this process does.
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def _own(study: optuna.Study) -> FrozenTrial:
    """The trial of this process that has just failed."""
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return next(t for t in reversed(failed) if t.user_attrs.get(OWNER) == this_process())


def _say_result(spec: SearchSpec, trials: int, study: optuna.Study, trial: FrozenTrial) -> None:
    name = f"trial {trial.number}"
    values = ", ".join(f"{n.rpartition('.')[2]} {_short(v)}" for n, v in trial.params.items())
    match trial.state:
        case TrialState.COMPLETE:
            best = study.best_trial
            what = f"{spec.metric} {trial.value:.4g}"
            if best.number != trial.number:
                what += f" (best {best.value:.4g}, trial {best.number})"
        case TrialState.PRUNED:
            what = f"pruned, {trial.user_attrs.get(REASON, '')}"
        case _:
            return
    done = len(study.get_trials(deepcopy=False, states=COUNTED[:2]))
    say(f"{done}/{trials}  {name}  {values}  {what}")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"
