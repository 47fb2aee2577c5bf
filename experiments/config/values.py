"""Configs with values that are not validated: arrays, and the tracers of a compiled function."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

C = TypeVar("C")


def with_values(config: C, values: Mapping[str, Any]) -> C:
    """A copy of a config with other values in some fields, without validation.

    `dataclasses.replace` would validate, and no tracer is a float to pydantic.

    Args:
      config: a frozen dataclass of settings; its sections are dataclasses, mappings or lists.
      values: new values by dotted name, for example ``{"optimizer.learning_rate": array}``; an
        index selects an entry of a list, as in ``"model.layers.0.forget_bias"``.

    Returns:
      The copy. It is hashable only if its values are.

    Raises:
      KeyError: if there is no field of a name.

    >>> from experiments.config.optimizer import Adam
    >>> with_values(Adam(), {"learning_rate": "fast"}).learning_rate
    'fast'
    """
    for name, value in values.items():
        config = _replaced(config, name.split("."), value, name)
    return config


def value_of(config: Any, name: str) -> Any:
    """The value of a field by its dotted name.

    Raises:
      KeyError: if there is no such field.

    >>> from experiments.config.optimizer import Adam
    >>> value_of(Adam(b1=0.5), "b1")
    0.5
    """
    for part in name.split("."):
        config = _entry(config, part, name)
    return config


def _replaced(section: Any, path: list[str], value: Any, name: str) -> Any:
    if not path:
        return value
    below = _replaced(_entry(section, path[0], name), path[1:], value, name)
    if dataclasses.is_dataclass(section):
        section = copy.copy(section)
        object.__setattr__(section, path[0], below)
        return section
    if isinstance(section, Mapping):
        return {**section, path[0]: below}
    index = int(path[0])
    return type(section)([*section[:index], below, *section[index + 1 :]])


def _entry(section: Any, part: str, name: str) -> Any:
    """The value of one field, key or index."""
    if dataclasses.is_dataclass(section) and part in (f.name for f in dataclasses.fields(section)):
        return getattr(section, part)
    if isinstance(section, Mapping) and part in section:
        return section[part]
    if isinstance(section, list | tuple) and part.isdecimal() and int(part) < len(section):
        return section[int(part)]
    raise KeyError(f"{name}: there is no field {part!r} in {type(section).__name__}")
