"""The study of a search: Optuna's record of all trials, shared by all workers."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from experiments.config.file import tree_differences
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.search.spec import SearchSpec
from experiments.search.stale import enqueue_again
from experiments.sweep.distribution import Choices, Distribution

optuna.logging.set_verbosity(optuna.logging.ERROR)

JOURNAL = "study.journal"
HEARTBEAT_SECONDS, GRACE_SECONDS = 30, 120
IDENTITY = "search"


def open_study(spec: SearchSpec, folder: Path, storage: str | None) -> "optuna.Study":
    """Create the study, or join it.

    Args:
      spec: the search.
      folder: the folder of the search; it has the journal if no storage is given.
      storage: the URL of a database; None for a journal in the folder.

    Returns:
      The study, named after the file.

    Raises:
      UserError: if the database cannot be opened, or has another search under this name.
    """
    try:
        study = optuna.create_study(
            storage=_storage(folder, storage),
            study_name=spec.path.stem,
            direction=optuna.study.StudyDirection[spec.direction.upper()],
            pruner=make_pruner(spec, spec.config(next(spec.examples()))),
            load_if_exists=True,
        )
    except (ImportError, optuna.exceptions.OptunaError, _sql_error(), OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        place = _without_password(storage) if storage else f"{folder / JOURNAL}"
        raise UserError(f"--storage {place}: cannot be opened: {reason:.200}") from None
    known = study.user_attrs.get(IDENTITY)
    if known is None:
        study.set_user_attr(IDENTITY, spec.identity())
    elif known != spec.identity():
        raise UserError(
            f"the study {study.study_name} is another search; it has\n  "
            + "\n  ".join(tree_differences(json.loads(known), json.loads(spec.identity())))
            + "\nchoose another folder with --workdir, or another name for the file"
        )
    return study


def make_pruner(spec: SearchSpec, config: Config) -> "optuna.pruners.BasePruner":
    """The rule that stops poor trials.

    Args:
      spec: the search.
      config: the config of a trial, for the numbers of its updates.
    """
    train = config.train
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match spec.pruner:
            case "median":
                return optuna.pruners.MedianPruner(n_startup_trials=5, n_min_trials=3)
            case "hyperband":
                return optuna.pruners.HyperbandPruner(train.eval_every, train.updates)
            case "asha":
                return optuna.pruners.SuccessiveHalvingPruner(train.eval_every)
    return optuna.pruners.NopPruner()


def make_sampler(spec: SearchSpec, trial: int) -> "optuna.samplers.BaseSampler":
    """The sampler of one trial, whose random numbers depend on the trial's number only.

    So no two workers draw the same values, and a search that goes on draws what it would have
    drawn.

    Args:
      spec: the search.
      trial: the number of the trial.
    """
    seed = int(np.random.SeedSequence([spec.seed, trial]).generate_state(1)[0])
    if spec.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    # Trials that other workers train count as poor ones, so that their values are not drawn again.
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def suggest(trial: "optuna.Trial", fields: dict[str, Distribution]) -> dict[str, Any]:
    """The values of a trial by dotted name.

    Args:
      trial: the trial.
      fields: what every field is drawn from.
    """
    values: dict[str, Any] = {}
    for name, each in fields.items():
        if isinstance(each, Choices):
            # Optuna compares choices with those of a file or database: only plain ones are equal.
            index = trial.suggest_categorical(name, [_plain(v) for v in each.values])
            values[name] = next(v for v in each.values if _plain(v) == index)
        elif each.is_integer:
            step = 1 if each.step is None else int(each.step)
            values[name] = trial.suggest_int(
                name, int(each.low), int(each.high), step=step, log=each.log
            )
        else:
            values[name] = trial.suggest_float(
                name, each.low, each.high, step=each.step, log=each.log
            )
    return values


def _plain(value: Any) -> Any:
    """A value that Optuna takes as a choice."""
    is_plain = value is None or isinstance(value, bool | int | float | str)
    return value if is_plain else json.dumps(value)


def _storage(folder: Path, storage: str | None) -> "BaseStorage":
    if storage is None:
        path = str(folder / JOURNAL)
        # A link is the default lock, which not every file system has.
        return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    if not re.match(r"[a-z0-9+]+://", storage):
        raise ValueError("must be the URL of a database, such as sqlite:///study.db")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return RDBStorage(
            storage,
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            heartbeat_stale_trial_callback=enqueue_again,
        )


def _sql_error() -> type[Exception]:
    try:
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        return OSError
    return SQLAlchemyError


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:...@", url)
