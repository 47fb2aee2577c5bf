"""The points of a sweep: a config and a readable name for each."""

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.config.file import config_tree, make_config
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.sweep.spec import Base, SweepSpec

LONGEST_NAME = 120


@dataclass(frozen=True)
class Point:
    """A config of a sweep.

    Attributes:
      name: the name of its folder, for example ``learning_rate=0.01,hidden_size=32``.
      config: the whole config.
      command: the command line of a plain run with this config, without the workdir; None if the
        config has no file of its own.
    """

    name: str
    config: Config
    command: str | None


def expand(spec: SweepSpec) -> tuple[list[Point], int]:
    """The points of a sweep, each with a valid config, and the number of repeated ones.

    Points with equal configs are one point.

    Raises:
      UserError: if a config is not valid; the message names the point.
    """
    points: dict[str, Point] = {}
    used: set[str] = set()
    every_value = spec.values()
    labels = short_names([name for values in every_value for name in values])
    for values in every_value:
        config = config_of(spec.base, values, f"{spec.path}")
        text = config_key(config)
        if text in points:
            continue
        name = point_name(values, labels)
        if name in used:
            name = f"{name}-{_digest(text)}"
        used.add(name)
        points[text] = Point(name, config, command_of(spec.base, values))
    return [*points.values()], len(every_value) - len(points)


def config_key(config: Config) -> str:
    """A text that is equal for equal configs."""
    return json.dumps(config_tree(config))


def config_of(base: Base, values: Mapping[str, Any], place: str) -> Config:
    """The config of one point.

    Args:
      base: the config that all points start from.
      values: its own values by dotted name.
      place: the file that has the values, for messages.

    Raises:
      UserError: if it is not valid; the message has the point and the fields.
    """
    try:
        return make_config(base.tree, {**base.fixed, **values}, base.source)
    except UserError as error:
        lines = [
            f"{place}: {line[2:]}" if line.startswith("--") else line
            for line in str(error).splitlines()
        ]
        point = ", ".join(f"{name}: {_text(value)}" for name, value in values.items())
        lines[0] += f" (in the point {point})" if point else ""
        raise UserError("\n".join(lines)) from None


def command_of(base: Base, values: Mapping[str, Any]) -> str | None:
    """The command line that trains one point alone; None if the config has no file of its own."""
    if base.path is None:
        return None
    flags = [
        word
        for name, value in {**base.fixed, **values}.items()
        for word in (f"--{name}", _flag(value))
    ]
    return shlex.join(["python", "-m", "experiments", "train", str(base.path), *flags])


def short_names(names: Sequence[str]) -> dict[str, str]:
    """The last part of every dotted name, or all of it where two end alike.

    >>> short_names(["optimizer.learning_rate", "model.cell", "task.length", "eval.length"])
    {'optimizer.learning_rate': 'learning_rate', 'model.cell': 'cell', 'task.length':\
 'task.length', 'eval.length': 'eval.length'}
    """
    names = list(dict.fromkeys(names))
    leaves = [name.rpartition(".")[2] for name in names]
    return {
        name: leaf if leaves.count(leaf) == 1 and not leaf.isdigit() else name
        for name, leaf in zip(names, leaves, strict=True)
    }


def point_name(values: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """A name that every file system takes.

    >>> point_name({"model.cell": "my.cells:GRU"}, {"model.cell": "cell"})
    'cell=my.cells-GRU'
    """
    name = ",".join(f"{labels[field]}={_text(value)}" for field, value in values.items())
    name = re.sub(r"[^\w.,=+-]+", "-", name, flags=re.ASCII).lstrip(".-") or "point"
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{_digest(json.dumps(dict(values), default=str))}"


def _text(value: Any) -> str:
    return (
        "none" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"
    )


def _flag(value: Any) -> str:
    """A value as the flag of a command, which reads YAML."""
    return json.dumps(value) if isinstance(value, dict | list) else _text(value)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
