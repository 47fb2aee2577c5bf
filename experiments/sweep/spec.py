"""A sweep file: a config, and the values that its fields take."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.config.sections import SECTIONS
from experiments.config.yaml_file import read_yaml
from experiments.errors import UserError
from experiments.sweep.distribution import Distribution, generator, read_distribution
from lstm_jax.did_you_mean import did_you_mean

PARTS = ("config", "set", "grid", "list", "random")
RANDOM = ("points", "seed", "fields")
MOST_POINTS = 100_000


@dataclass(frozen=True)
class Base:
    """The config that a sweep or a search starts from.

    Attributes:
      tree: its sections as plain mappings.
      source: where they come from, for messages.
      path: its file; None if it stands in the file itself.
      fixed: values by dotted name that all points have.
    """

    tree: dict[str, Any]
    source: str
    path: Path | None
    fixed: dict[str, Any]


@dataclass(frozen=True)
class SweepSpec:
    """The content of a sweep file; the points are the product of the three parts.

    Attributes:
      path: the file.
      base: the config.
      grid: for every field, its values; every combination is a point.
      entries: points given one by one, as values by dotted name.
      random: what the fields of random points are drawn from.
      random_points: the number of random points.
      random_seed: the seed of the draws.
    """

    path: Path
    base: Base
    grid: dict[str, list[Any]]
    entries: list[dict[str, Any]]
    random: dict[str, Distribution]
    random_points: int
    random_seed: int

    def values(self) -> list[dict[str, Any]]:
        """The values of every point by dotted name, in the order of the file."""
        grid = [
            dict(zip(self.grid, values, strict=True))
            for values in itertools.product(*self.grid.values())
        ]
        drawn: list[dict[str, Any]] = [{} for _ in range(self.random_points if self.random else 1)]
        for name, distribution in self.random.items():
            rng = generator(self.random_seed, name)
            for point in drawn:
                point[name] = distribution.draw(rng)
        return [a | b | c for a in self.entries or [{}] for b in grid for c in drawn]


def read_sweep(path: Path, overrides: Mapping[str, Any] | None = None) -> SweepSpec:
    """Read a sweep file.

    Args:
      path: the file.
      overrides: values by dotted name for all points, set after those of the file.

    Raises:
      UserError: if the file cannot be read, or a part is not as it should be.
    """
    tree = read_yaml(path)
    check_names(tree, PARTS, f"{path}")
    base = read_base(tree, path, overrides or {})
    grid = _mapping(tree, "grid", f"{path}")
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{path}: grid.{name}: must be a list of values; got {values!r:.60}")
    entries = tree.get("list", [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) and e for e in entries):
        raise UserError(f"{path}: list: must be a list of mappings from fields to values")
    entries = [flat(entry) for entry in entries]
    random, points, seed = _random(tree, f"{path}")
    parts = {
        "set": [*base.fixed],
        "grid": [*grid],
        "list": [*dict.fromkeys(name for entry in entries for name in entry)],
        "random": [*random],
    }
    _check_disjoint(parts, path)
    if not (grid or entries or random):
        raise UserError(f"{path}: has no points: give a grid, a list, or random fields")
    spec = SweepSpec(path, base, flat_names(grid), entries, random, points, seed)
    count = points if random else 1
    for values in [*grid.values(), entries or [{}]]:
        count *= len(values)
    if count > MOST_POINTS:
        raise UserError(f"{path}: has {count:,} points; the maximum is {MOST_POINTS:,}")
    return spec


def read_base(tree: Mapping[str, Any], path: Path, overrides: Mapping[str, Any]) -> Base:
    """The config of a sweep or search file, with the values that are set for all.

    Args:
      tree: the content of the file, with ``config`` and ``set``.
      path: the file; a config is looked for beside it.
      overrides: values by dotted name from the command line.

    Raises:
      UserError: if there is no config.
    """
    config = tree.get("config")
    fixed = flat(_mapping(tree, "set", f"{path}")) | dict(overrides)
    if isinstance(config, str):
        file = path.parent / config
        return Base(read_yaml(file), str(file), _short(file), fixed)
    if isinstance(config, dict):
        return Base(config, f"{path}: config", None, fixed)
    raise UserError(
        f"{path}: config: must be the path of a config, relative to this file, or a config itself;"
        f" got {config!r:.60}"
    )


def check_names(tree: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    """Check that a mapping has known names only.

    Raises:
      UserError: if it has another.
    """
    for name in tree:
        if name not in known:
            hint = did_you_mean(name, known)
            if name == "search" and not hint:
                hint = "; for a search, use the command search"
            raise UserError(f"{place}: {name}: unknown; it may have {', '.join(known)}{hint}")


def flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name, also from sections: ``{optimizer: {learning_rate: 0.1}}``.

    >>> flat({"optimizer": {"learning_rate": 0.1}, "model.cell": "gru"})
    {'optimizer.learning_rate': 0.1, 'model.cell': 'gru'}
    >>> flat({"devices": {"data": 2}})
    {'devices.data': 2}
    """
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if name in SECTIONS and isinstance(value, dict) and value:
            values |= {f"{name}.{leaf}": each for leaf, each in value.items()}
        else:
            values[str(name)] = value
    return values


def flat_names(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """The mapping with its names as text."""
    return {str(name): value for name, value in tree.items()}


def _mapping(tree: Mapping[str, Any], name: str, place: str) -> dict[str, Any]:
    value = tree.get(name, {})
    if not isinstance(value, dict):
        raise UserError(f"{place}: {name}: must be a mapping of fields; got {value!r:.60}")
    return flat(value)


def _random(tree: Mapping[str, Any], place: str) -> tuple[dict[str, Distribution], int, int]:
    if "random" not in tree:
        return {}, 1, 0
    part = tree["random"]
    if not isinstance(part, dict):
        raise UserError(f"{place}: random: must be a mapping with points and fields")
    check_names(part, RANDOM, f"{place}: random")
    points = whole_number(part.get("points"), 1, f"{place}: random.points")
    seed = whole_number(part.get("seed", 0), 0, f"{place}: random.seed")
    return read_fields(part.get("fields"), f"{place}: random.fields"), points, seed


def whole_number(value: Any, least: int, place: str) -> int:
    """An integer from a file.

    Raises:
      UserError: if the value is no integer, or too small.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{place}: must be an integer from {least}; got {value!r:.60}")
    return value


def read_fields(fields: Any, place: str) -> dict[str, Distribution]:
    """Distributions by the dotted names of the fields.

    Raises:
      UserError: if there are none, or one is not a distribution.
    """
    if not isinstance(fields, dict) or not fields:
        raise UserError(f"{place}: must be a mapping from fields to what they are drawn from")
    return {name: read_distribution(v, f"{place}.{name}") for name, v in flat(fields).items()}


def _check_disjoint(parts: Mapping[str, list[str]], path: Path) -> None:
    """A field has its values from one part only."""
    seen: dict[str, str] = {}
    for part, names in parts.items():
        for name in names:
            for other, where in seen.items():
                if name == other or name.startswith(f"{other}.") or other.startswith(f"{name}."):
                    raise UserError(f"{path}: {part}.{name}: {other} is in {where} already")
        seen |= dict.fromkeys(names, part)


def _short(path: Path) -> Path:
    """The path relative to the current folder, if it is below it."""
    full, here = path.resolve(), Path.cwd()
    return full.relative_to(here) if full.is_relative_to(here) else path
