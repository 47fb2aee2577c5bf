"""Config files: from a YAML file and overrides to a `Config`, with one error per field."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from experiments.config.fields import FieldErrors
from experiments.config.messages import error_lines, message
from experiments.config.model import model_tree
from experiments.config.overrides import with_overrides
from experiments.config.schema import Config
from experiments.config.sections import Reading, leaves, read_sections
from experiments.config.yaml_file import read_yaml
from experiments.errors import UserError


def load_config(path: Path, overrides: Mapping[str, Any] | None = None) -> Config:
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


def make_config(
    tree: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, source: str = "config"
) -> Config:
    """A config from plain mappings and overrides, as `load_config` makes it from a file.

    Args:
      tree: the sections.
      overrides: values by dotted name.
      source: where the tree comes from, for messages.

    Raises:
      UserError: if a field is unknown or invalid.

    >>> make_config({"task": {"name": "adding", "length": 50}}).task.length
    50
    """
    overrides = overrides or {}
    reading = read_sections(with_overrides(tree, overrides))
    if not reading.errors:
        try:
            return Config(**reading.values)
        except ValidationError as error:
            _add_errors(reading, error)
    raise UserError(error_lines(reading.errors, reading.names, overrides, source))


def dump_config(config: Config) -> str:
    """The config as YAML, with every field; of a layer, with those that are not off."""
    return yaml.safe_dump(config_tree(config), sort_keys=False)


def config_tree(config: Config) -> dict[str, Any]:
    """The config as plain mappings and lists, as they stand in a file."""
    sections = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    tree = {
        name: value if isinstance(value, int) else dataclasses.asdict(value)
        for name, value in sections.items()
        if name != "model"
    }
    return _plain({name: tree.get(name) for name in sections} | {"model": model_tree(config.model)})


def differences(old: Config, new: Config) -> list[str]:
    """The fields that differ between two configs, as ``name: old, not new``."""
    return tree_differences(config_tree(old), config_tree(new))


def tree_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The values that differ between two trees of mappings, as ``name: old, not new``.

    >>> tree_differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}})
    ['a.b: 1, not 3']
    """
    a, b = leaves(old), leaves(new)
    missing = "(none)"
    return [
        f"{name}: {a.get(name, missing)}, not {b.get(name, missing)}"
        for name in dict.fromkeys([*a, *b])
        if a.get(name, missing) != b.get(name, missing)
    ]


def _add_errors(reading: Reading, error: ValidationError) -> None:
    """Add the errors of a config whose sections are right."""
    for detail in error.errors(include_url=False):
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, FieldErrors):
            reading.errors |= {reading.place(name): text for name, text in cause.errors.items()}
        else:
            reading.errors[".".join(map(str, detail["loc"]))] = message(detail)


def _plain(value: Any) -> Any:
    """Mappings, lists and plain values, without tuples."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
