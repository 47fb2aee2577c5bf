"""Config files: from a YAML file and overrides to a `Config`, with one error per field."""

import dataclasses
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from experiments.config.layer import LayerConfig
from experiments.config.model import SHARED, model_tree
from experiments.config.optimizer import OptimizerConfig
from experiments.config.schema import Config
from experiments.config.sections import Reading, hint_for, leaves, message, read_sections
from experiments.config.yaml_file import read_yaml
from experiments.errors import UserError

KEPT = {
    "task.name": set(),
    "optimizer.name": {field.name for field in dataclasses.fields(OptimizerConfig)},
    "model.cell": {
        *(field.name for field in dataclasses.fields(LayerConfig)),
        *SHARED,
        "layers",
        "hidden_size",
    },
}
"""Fields that stay when an override names another component."""


def load_config(path: Path, overrides: dict[str, Any] | None = None) -> Config:
    """Read a config file and apply overrides.

    Args:
      path: the YAML file.
      overrides: values by dotted name, for example ``{"model.hidden_size": 64}``.

    Returns:
      The validated config.

    Raises:
      UserError: if the file cannot be read or parsed, or a field is unknown or invalid.
    """
    return make_config(read_yaml(path), overrides, str(path))


def make_config(tree: dict[str, Any], overrides: dict[str, Any] | None, source: str) -> Config:
    """A config from plain mappings and overrides, as `load_config` makes it from a file.

    Args:
      tree: the sections.
      overrides: values by dotted name.
      source: where the tree comes from, for messages.

    Raises:
      UserError: if a field is unknown or invalid.
    """
    overrides = overrides or {}
    tree = with_overrides(tree, overrides)
    reading = read_sections(tree)
    if not reading.errors:
        try:
            return Config(**reading.values)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                name, text = ".".join(map(str, detail["loc"])), message(detail)
                if not name:
                    name, _, text = text.partition(": ")
                reading.errors[name] = text
    raise UserError("\n".join(_lines(reading, overrides, source)))


def with_overrides(tree: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """The sections with overrides set.

    Where an override names another task, optimizer or cell, fields of the file that only the one
    in the file has are dropped.

    Raises:
      UserError: if an override is for a field of a single value.
    """
    tree = {name: dict(v) if isinstance(v, dict) else v for name, v in tree.items()}
    for name, kept in KEPT.items():
        section, _, leaf = name.partition(".")
        below = tree.get(section)
        given = below.get(leaf) if isinstance(below, dict) else None
        if isinstance(below, dict) and name in overrides and given not in (None, overrides[name]):
            tree[section] = {key: value for key, value in below.items() if key in kept}
    for name, value in overrides.items():
        _set(tree, name, value)
    return tree


def dump_config(config: Config) -> str:
    """The config as YAML, with every field."""
    return yaml.safe_dump(config_tree(config), sort_keys=False)


def config_tree(config: Config) -> dict[str, Any]:
    """The config as plain mappings and lists, as they stand in a file."""
    tree = dataclasses.asdict(dataclasses.replace(config, model=type(config.model)()))
    return _plain({**tree, "model": model_tree(config.model)})


def differences(old: Config, new: Config) -> list[str]:
    """The fields that differ between two configs, as ``name: old, not new``."""
    a, b = leaves(config_tree(old)), leaves(config_tree(new))
    missing = "(none)"
    return [
        f"{name}: {a.get(name, missing)}, not {b.get(name, missing)}"
        for name in dict.fromkeys([*a, *b])
        if a.get(name, missing) != b.get(name, missing)
    ]


def _lines(reading: Reading, overrides: dict[str, Any], source: str) -> list[str]:
    lines = []
    for name, text in reading.errors.items():
        hint = hint_for(name, reading.names) if text == "unknown field" else ""
        place = f"--{name}" if name in overrides else f"{source}: {name}"
        lines.append(f"{place}: {text}{hint}")
    return lines


def _set(tree: dict[str, Any], name: str, value: Any) -> None:
    """Set a field by its dotted name; a number in the name is a place in a list."""
    *sections, leaf = name.split(".")
    below: Any = tree
    for i, section in enumerate([*sections, leaf]):
        last = i == len(sections)
        if isinstance(below, list):
            if not section.isdigit() or int(section) >= len(below):
                raise UserError(f"--{name}: no layer {section}; there are {len(below)}, from 0")
            if last:
                below[int(section)] = value
            else:
                below[int(section)] = _copied(below[int(section)])
                below = below[int(section)]
        elif not isinstance(below, dict):
            raise UserError(f"--{name}: unknown field; {sections[i - 1]} is a single value")
        elif last:
            below[section] = value
        else:
            below[section] = _copied(below.get(section, {}))
            below = below[section]


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | list) else value


def _plain(value: Any) -> Any:
    """Mappings, lists and plain values, without tuples."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
