"""The folder of a sweep: finished points, and groups that still train.

``points/NAME/`` is the workdir of a finished run. ``groups/N/`` is the workdir of a group that
trains, with ``points.json``, which says what its lanes are; it is removed when its points have
folders of their own.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.config.file import config_tree, differences, make_config
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.run.atomic_write import write_atomic
from experiments.run.workdir import Workdir
from experiments.sweep.groups import Group
from experiments.sweep.points import Point, config_key


class SweepFolder:
    """The folder of one sweep.

    Args:
      path: the folder; it does not have to exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.points_path = path / "points"
        self.groups_path = path / "groups"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and lock it for this process.

        Raises:
          UserError: if another process trains in it, it cannot be written, or has a plain run.
        """
        if (self.path / "config.yaml").exists():
            raise UserError(
                f"{self.path}: is the folder of a run, not of a sweep; choose another one with"
                " --workdir"
            )
        try:
            self.points_path.mkdir(parents=True, exist_ok=True)
            self.groups_path.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from None
        with Workdir(self.path).locked():
            for folder in (self.points_path, self.groups_path):
                # What a process that was killed has left.
                for left in folder.glob(".*"):
                    if left.is_dir():
                        shutil.rmtree(left)
            yield

    def finished(self) -> list[str]:
        """The names of the points that are finished."""
        if not self.points_path.is_dir():
            return []
        folders = [path for path in self.points_path.iterdir() if path.is_dir()]
        return sorted(path.name for path in folders if not path.name.startswith("."))

    def summary(self, name: str) -> dict[str, Any]:
        """The summary of a finished point.

        Raises:
          UserError: if its folder has none.
        """
        summary = Workdir.existing(self.points_path / name).summary()
        if summary is None:
            raise UserError(f"{self.points_path / name}: has no summary.json; remove this folder")
        return summary

    def groups(self) -> dict[int, Group]:
        """The groups that are not finished, by number.

        Raises:
          UserError: if a file is damaged.
        """
        found: dict[int, Group] = {}
        if self.groups_path.is_dir():
            numbers = [int(p.name) for p in self.groups_path.iterdir() if p.name.isdecimal()]
            found = {n: self._read_group(self.groups_path / f"{n}") for n in sorted(numbers)}
        return found

    def match(self, points: Sequence[Point]) -> tuple[list[Point], list[Point]]:
        """The points with the names that they have here, and those that are new.

        A point whose config is here already, under whatever name, is that one.

        Raises:
          UserError: if a name belongs to another config here.
        """
        here: dict[str, Config] = {}
        for name in self.finished():
            here[name] = Workdir.existing(self.points_path / name).config()
        for group in self.groups().values():
            here |= {point.name: point.config for point in group.points}
        names = {config_key(config): name for name, config in here.items()}
        matched, new = [], []
        for point in points:
            name = names.get(config_key(point.config))
            if name is not None:
                matched.append(replace(point, name=name))
            elif point.name in here:
                raise UserError(
                    f"{self.path} has the point {point.name} with another config; it has\n  "
                    + "\n  ".join(differences(here[point.name], point.config))
                    + "\nchoose another folder with --workdir"
                )
            else:
                matched.append(point)
                new.append(point)
        return matched, new

    def add(self, group: Group) -> int:
        """Add a group to be trained, and return its number."""
        number = max(self.groups(), default=0) + 1
        temporary = self.groups_path / f".{number}"
        temporary.mkdir()
        points = [
            {"name": p.name, "command": p.command, "config": config_tree(p.config)}
            for p in group.points
        ]
        write_atomic(temporary / "points.json", json.dumps({"points": points}, indent=1) + "\n")
        os.rename(temporary, self.groups_path / f"{number}")
        return number

    def remove(self, number: int) -> None:
        """Remove a group whose points are finished."""
        hidden = self.groups_path / f".{number}"
        os.rename(self.groups_path / f"{number}", hidden)
        shutil.rmtree(hidden)

    @contextmanager
    def new_point(self, name: str) -> Iterator[Path]:
        """A folder that becomes that of a finished point when the block ends."""
        temporary = self.points_path / f".{name}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        # On the disk before it has its name: after that, its group is removed.
        _sync(temporary)
        os.rename(temporary, self.points_path / name)
        _sync(self.points_path, below=False)

    def _read_group(self, path: Path) -> Group:
        file = path / "points.json"
        try:
            points = json.loads(file.read_text(encoding="utf-8"))["points"]
            parts = [(p["name"], p["config"], p["command"]) for p in points]
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(
                f"{file}: cannot be read: not written by a sweep; remove {path} to train its points"
                " anew"
            ) from None
        made = [Point(n, make_config(c, None, f"{file}: {n}"), command) for n, c, command in parts]
        return Group(tuple(made))


def _sync(folder: Path, *, below: bool = True) -> None:
    """Wait until a folder, and all below it, is on the disk."""
    for path in [*(folder.rglob("*") if below else ()), folder]:
        if path.is_dir() and os.name == "nt":
            continue
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
