"""Trials whose process has ended before they did: they are trained on, from their checkpoints."""

import os
import platform
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from experiments.errors import UserError
from experiments.run.workdir import Workdir

OWNER, RESUMES = "owner", "resumes"


def this_process() -> dict[str, Any]:
    """What tells this process from all others, for the record of a trial."""
    pid = os.getpid()
    return {"host": platform.node(), "pid": pid, "started": _started(pid)}


def trial_path(folder: Path, number: int) -> Path:
    """The workdir of a trial."""
    return folder / "trials" / f"{number}"


def requeue_stale(study: optuna.Study, folder: Path) -> None:
    """Put the trials of processes that have ended into the queue of the study.

    A process of this machine is looked up. Of another machine that shares the folder, the lock of
    the workdir is free once the process has ended; a database also has a heartbeat.

    Args:
      study: the study.
      folder: the folder of the search.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        owner = trial.user_attrs.get(OWNER)
        if owner is not None and not _is_running(owner, trial_path(folder, trial.number)):
            requeue(study, trial)


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """End a trial as failed, and put its values into the queue; its folder is used again."""
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, optuna.exceptions.OptunaError):
        return  # Another worker was faster.
    enqueue_again(study, trial)


def enqueue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Put the values of a failed trial into the queue; its folder is used again."""
    earlier = trial.user_attrs.get(RESUMES, [])
    if trial.params:
        study.enqueue_trial(trial.params, user_attrs={RESUMES: [*earlier, trial.number]})


def take_over(folder: Path, numbers: list[int], path: Path) -> None:
    """Move the workdir of an earlier attempt to that of this one, if it is here.

    Args:
      folder: the folder of the search.
      numbers: the earlier attempts, the last one at the end.
      path: the new workdir.
    """
    for number in reversed(numbers):
        with suppress(FileNotFoundError):
            os.rename(trial_path(folder, number), path)
            return


def _is_running(owner: dict[str, Any], path: Path) -> bool:
    if owner["host"] == platform.node():
        return owner["started"] == _started(owner["pid"])
    if not path.exists():
        return True
    try:
        with Workdir(path).locked():
            return False
    except (UserError, OSError):
        return True


def _started(pid: int) -> str | None:
    """When a process has started, in the kernel's unit; None if there is none.

    A number of a process is used again, so that the number alone does not identify it.
    """
    try:
        # The name of the program, in parentheses, may contain spaces.
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "running"
