"""Running a sweep: its groups in turn, each split into its points when it has ended."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.devices.mesh import Placement
from experiments.errors import Interrupted, TrainingFailed
from experiments.run.workdir import Workdir
from experiments.sweep.folder import SweepFolder
from experiments.sweep.groups import MAX_LANES, Group, make_groups
from experiments.sweep.points import Point, expand
from experiments.sweep.spec import SweepSpec
from experiments.sweep.split import write_point
from experiments.training.data import load_data
from experiments.training.memory import memory_errors
from experiments.training.progress_bar import show_progress
from experiments.training.signals import CaughtSignal, catch_signals
from experiments.training.train_step import make_train_functions
from experiments.training.trainer import Trainer


def run_sweep(
    spec: SweepSpec, path: Path, max_lanes: int = MAX_LANES, *, figures: bool = True
) -> list[Point]:
    """Train all points of a sweep that are not finished.

    Args:
      spec: the sweep.
      path: its folder. If a sweep was stopped there, it goes on.
      max_lanes: the maximum number of lanes of a group.
      figures: whether to draw the figures of every point.

    Returns:
      The points, with the names of their folders.

    Raises:
      UserError: if a config is not valid, or the folder has another one under the same name; then
        nothing has started.
      TrainingFailed: if a group cannot be trained.
      Interrupted: if a signal arrived; the state is saved.
    """
    points, repeated = expand(spec)
    folder = SweepFolder(path)
    folder.match(points)
    with folder.locked(), catch_signals() as caught:
        points, new = folder.match(points)
        made = make_groups(new, max_lanes)
        check_groups(made)
        for group in made:
            folder.add(group)
        groups = folder.groups()
        print(_intentions(points, groups, repeated, path), file=sys.stderr)
        for i, (number, group) in enumerate(groups.items()):
            label = f"group {i + 1} of {len(groups)}"
            train_group(folder, number, group, caught, label=label, figures=figures)
            folder.remove(number)
    return points


def check_groups(groups: Sequence[Group]) -> None:
    """Check that there are enough data, memory and devices for every group.

    Raises:
      UserError: if there are not.
    """
    for group in groups:
        load_data(group.config, lanes=len(group.lanes))
        Placement.of(group.config)


def train_group(
    folder: SweepFolder,
    number: int,
    group: Group,
    caught: CaughtSignal,
    *,
    label: str,
    figures: bool,
) -> None:
    """Train a group, or go on with it, and write its points.

    Raises:
      TrainingFailed: if it cannot be trained.
      Interrupted: if a signal arrived; the state is saved.
    """
    config, lanes = group.config, group.lanes
    workdir = Workdir(folder.groups_path / f"{number}")

    def stop(what: str) -> Interrupted:
        assert caught.signum is not None
        text = f"stopped in {label}, {what}; run the same command again to go on"
        return Interrupted(caught.signum, text)

    saved = f"what was saved in {folder.path} is intact; --max_lanes makes smaller groups"
    with memory_errors(config, saved), workdir.locked():
        workdir.begin(config)
        data = load_data(config, lanes=len(lanes))
        functions = make_train_functions(config, lanes, Placement.of(config))
        trainer = Trainer(config, workdir, functions, data)
        name = f"{label}, {len(lanes)} lanes" if len(lanes) > 1 else label
        try:
            with show_progress(name, trainer.progress.update, config.train.updates) as show:
                while not trainer.done and not caught:
                    trainer.advance(show)
        except TrainingFailed:
            # A group of which all lanes have diverged is finished as well.
            if trainer.healthy.any():
                raise
        trainer.save()
        if caught and not trainer.done:
            update = trainer.progress.update
            saved = f"at update {update}; the state is saved in {folder.path}"
            raise stop(saved if update else "before its first update")
        test = trainer.test()
        finished = folder.finished()
        for point, own in zip(group.points, group.slices(), strict=True):
            if point.name in finished:
                continue
            if caught:
                raise stop("while its points were written")
            command = point.command or _own_command(folder.points_path / point.name)
            with folder.new_point(point.name) as path:
                write_point(path, point, own, trainer, test, command=command, figures=figures)


def _own_command(path: Path) -> str:
    return shlex.join(["python", "-m", "experiments", "train", str(path / "config.yaml")])


def _intentions(points: list[Point], groups: dict[int, Group], repeated: int, path: Path) -> str:
    """What a sweep is going to do, on one line."""
    left = sum(len(group.points) for group in groups.values())
    text = f"{len(points)} points"
    if repeated:
        text += f" ({repeated} more are repeated)"
    if not left:
        return f"{text}, all finished in {path}"
    here = len({p.name for p in points} - {p.name for g in groups.values() for p in g.points})
    if here:
        text += f", {here} of them finished"
    lanes = sum(len(group.lanes) for group in groups.values())
    what = f"{lanes} lanes in {len(groups)} group{'s' * (len(groups) > 1)}"
    return f"{text}; training {what}, in {path}"
