"""Which points of a sweep train together: those that can share a program."""

import dataclasses
import json
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.config.fields import Lane
from experiments.config.schema import Config
from experiments.config.values import with_values
from experiments.sweep.points import Point
from experiments.training.lanes import Lanes

MAX_LANES = 64
"""Lanes of a group, unless told otherwise."""


@dataclass(frozen=True)
class Group:
    """Points that train together.

    Attributes:
      points: the points; each has a lane for each of its seeds, in this order.
    """

    points: tuple[Point, ...]

    @property
    def config(self) -> Config:
        """The config that decides the program: that of the first point."""
        return self.points[0].config

    @property
    def lanes(self) -> Lanes:
        """The seeds of all points, and the fields in which they differ."""
        seeds, rows = [], []
        for point in self.points:
            config = point.config
            values = lane_values(config)
            for seed in range(config.seed, config.seed + config.seeds):
                seeds.append(seed)
                rows.append(values)
        differing = [name for name in rows[0] if len({row[name] for row in rows}) > 1]
        return Lanes(tuple(seeds), {name: tuple(row[name] for row in rows) for name in differing})

    def slices(self) -> list[slice]:
        """The lanes of every point."""
        slices, start = [], 0
        for point in self.points:
            slices.append(slice(start, start + point.config.seeds))
            start += point.config.seeds
        return slices


def make_groups(points: Sequence[Point], max_lanes: int = MAX_LANES) -> list[Group]:
    """Points in groups that share a program.

    Args:
      points: the points.
      max_lanes: the maximum number of lanes of a group. The seeds of a point stay together, also
        if they are more.

    Returns:
      The groups, in the order of their first points.
    """
    programs: dict[str, list[list[Point]]] = {}
    order: list[list[Point]] = []
    for point in points:
        groups = programs.setdefault(program_key(point.config), [])
        lanes = sum(each.config.seeds for each in groups[-1]) if groups else 0
        if not groups or lanes + point.config.seeds > max_lanes:
            groups.append([])
            order.append(groups[-1])
        groups[-1].append(point)
    return [Group(tuple(group)) for group in order]


def program_key(config: Config) -> str:
    """A text that is equal for configs that share a program.

    They differ in their seeds and in fields marked as `Lane`, at most.
    """
    names = lane_values(config)
    shared = with_values(config, {**dict.fromkeys(names, "lane"), "seed": 0, "seeds": 1})
    return json.dumps([dataclasses.asdict(shared), str(type(config.task))], default=repr)


def lane_values(config: Config) -> dict[str, float]:
    """The values of all fields that can differ between lanes, by dotted name.

    A field that is none is not among them: the program has no such array.
    """
    return dict(_lane_values(config, ""))


def _lane_values(section: Any, prefix: str) -> Iterator[tuple[str, float]]:
    fields = getattr(type(section), "__pydantic_fields__", {})
    for name, info in fields.items():
        value = getattr(section, name)
        if dataclasses.is_dataclass(value):
            yield from _lane_values(value, f"{prefix}{name}.")
        elif isinstance(value, tuple):
            for i, each in enumerate(value):
                yield from _lane_values(each, f"{prefix}{name}.{i}.")
        elif isinstance(value, float) and _is_lane(info.metadata, info.annotation):
            yield f"{prefix}{name}", value


def _is_lane(metadata: Sequence[Any], annotation: Any) -> bool:
    """Whether a field or a member of its union is marked."""
    if any(isinstance(each, Lane) for each in metadata):
        return True
    return any(
        _is_lane(getattr(member, "__metadata__", ()), None)
        for member in typing.get_args(annotation)
    )
