"""More updates for a run: it goes on as if they had been asked for at the start."""

import shutil
import sys

from experiments.config.file import dump_config, load_config
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.run.atomic_write import write_atomic
from experiments.run.workdir import Workdir
from experiments.training.optimizer import depends_on_updates

FIELD = "train.updates"


def other_updates(workdir: Workdir, config: Config) -> int | None:
    """The number of updates of the run in the workdir, if it is another than the config's."""
    path = workdir.path / "config.yaml"
    updates = load_config(path).train.updates if path.is_file() else config.train.updates
    return updates if updates != config.train.updates else None


def extend(workdir: Workdir, config: Config) -> None:
    """Let the run in the workdir train up to the updates of the config; under its lock.

    A kill at any moment leaves a run of the old or of the new number of updates.

    Args:
      workdir: the workdir; its run differs from the config in the number of updates at most.
      config: the config to train.

    Raises:
      UserError: if other updates would change those that are done, or change nothing.
    """
    before = other_updates(workdir, config)
    if before is None:
        return
    saved = workdir.checkpoints.updates()
    _check(workdir, config, before, max(saved, default=0))
    workdir.checkpoints.check(config.train.checkpoint_every)
    for update in saved:
        if not _on_grid(update, before, config):
            # The run evaluated there only because it ended there.
            shutil.rmtree(workdir.checkpoints_path / str(update))
    (workdir.path / "summary.json").unlink(missing_ok=True)
    write_atomic(workdir.path / "config.yaml", dump_config(config))
    print(
        f"{workdir.path}: a run of {before:,} updates goes on up to {config.train.updates:,}",
        file=sys.stderr,
    )


def _check(workdir: Workdir, config: Config, before: int, done: int) -> None:
    """Raise if the run cannot have the updates of the config."""
    asked = config.train.updates
    run = f"{workdir.path} has a run of {before:,} updates"
    if depends_on_updates(config.optimizer):
        raise UserError(
            f"{run}, and optimizer.schedule {config.optimizer.schedule} depends on their number: a"
            f" run of {asked:,} has other learning rates from its start. Train it in another"
            " --workdir; with the schedule constant, a run can go on"
        )
    if asked < done:
        raise UserError(
            f"{run}, of which {done:,} are done, and {FIELD} is {asked:,}; choose another --workdir"
        )
    summary = workdir.summary()
    if summary is not None and max(summary["updates"]) < before:
        raise UserError(
            f"{run}, in which every seed ended after at most {max(summary['updates']):,}, by"
            f" train.stop_when {config.train.stop_when}: more updates change nothing"
        )


def _on_grid(update: int, before: int, config: Config) -> bool:
    """Whether a run of either number of updates comes by the state of this checkpoint."""
    at_an_end = update in (before, config.train.updates)
    return not at_an_end or update % config.train.eval_every == 0
