"""Config files: from a YAML file and overrides to a `Config`, with one error per field."""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import TypeAdapter, ValidationError

from experiments.config.schema import Config
from experiments.config.yaml_file import read_yaml
from experiments.errors import UserError
from experiments.tasks import AnyTask
from lstm_jax.did_you_mean import did_you_mean, nearest

TASKS = {task.name: task for task in get_args(AnyTask)}


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
    tree = read_yaml(path)
    overrides = overrides or {}
    override, in_file = overrides.get("task.name"), _task_name(tree)
    if override is not None and in_file is not None and override != in_file:
        # The task settings of the file are for another task: drop them.
        tree["task"] = {}
    unknown = _unknown(list(overrides), override if override is not None else in_file)
    if unknown:
        raise UserError("\n".join(f"--{name}: {message}" for name, message in unknown.items()))
    for name, value in overrides.items():
        _set(tree, name, value)
    return _validate(tree, path, overrides)


def dump_config(config: Config) -> str:
    """The config as YAML, with every field."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)


def differences(old: Config, new: Config) -> list[str]:
    """The fields that differ between two configs, as ``name: old, not new``."""
    a, b = _leaves(dataclasses.asdict(old)), _leaves(dataclasses.asdict(new))
    missing = "(none)"
    return [
        f"{name}: {a.get(name, missing)}, not {b.get(name, missing)}"
        for name in dict.fromkeys([*a, *b])
        if a.get(name, missing) != b.get(name, missing)
    ]


def field_names(task: Any = None) -> list[str]:
    """All dotted field names, with those of the named task, or of all tasks without a name."""
    tasks = [TASKS[task]] if isinstance(task, str) and task in TASKS else list(TASKS.values())
    names = dict.fromkeys(
        f"task.{field.name}" for cls in tasks for field in dataclasses.fields(cls)
    )
    for field in dataclasses.fields(Config):
        if field.name == "task":
            continue
        if dataclasses.is_dataclass(field.default):
            names |= dict.fromkeys(
                f"{field.name}.{sub.name}" for sub in dataclasses.fields(field.default)
            )
        else:
            names[field.name] = None
    return list(names)


def nearest_field(name: str, names: Sequence[str]) -> str | None:
    """The field whose dotted name is nearest to a name, or None if none is near.

    The section of a field may be missing or wrong.

    >>> nearest_field("model.hiden_size", ["model.hidden_size", "train.updates"])
    'model.hidden_size'
    >>> nearest_field("hidden_size", ["model.hidden_size", "train.updates"])
    'model.hidden_size'
    """
    tail = name.rsplit(".", 1)[-1]
    tails = {field.rsplit(".", 1)[-1]: field for field in names}
    if tail in tails:
        return tails[tail]
    return nearest(name, names) or tails.get(nearest(tail, tails) or "")


def _set(tree: dict[str, Any], name: str, value: Any) -> None:
    *sections, leaf = name.split(".")
    for section in sections:
        below = tree.setdefault(section, {})
        if not isinstance(below, dict):
            raise UserError(f"--{name}: unknown field; {section} is a single value")
        tree = below
    tree[leaf] = value


def _validate(tree: dict[str, Any], path: Path, overrides: dict[str, Any]) -> Config:
    def source(name: str) -> str:
        return f"--{name}" if name in overrides else f"{path}: {name}"

    unknown = _unknown(list(_leaves(tree)), _task_name(tree))
    messages = [f"{source(name)}: {message}" for name, message in unknown.items()]
    try:
        # Strict validation converts mappings to dataclasses only from JSON.
        config = TypeAdapter(Config).validate_json(json.dumps(tree))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["type"] != "unexpected_keyword_argument":
                messages.append(_message(detail, source))
    else:
        if not messages:
            return config
    raise UserError("\n".join(messages))


def _task_name(tree: dict[str, Any]) -> Any:
    task = tree.get("task")
    return task.get("name") if isinstance(task, dict) else None


def _unknown(given: Sequence[str], task: Any) -> dict[str, str]:
    """A message for every name that is not a field."""
    names = field_names(task)
    sections = {name.partition(".")[0] for name in names if "." in name}
    messages = {}
    for name in given:
        if name not in names and name not in sections:
            hint = nearest_field(name, names)
            messages[name] = "unknown field" + (f"; did you mean {hint}?" if hint else "")
    return messages


def _message(detail: Any, source: Any) -> str:
    """A pydantic error as one line."""
    # Pydantic adds the name of the task to the path, for the discriminated union.
    path = [str(p) for i, p in enumerate(detail["loc"]) if not (i == 1 and p in TASKS)]
    name, given = ".".join(path), detail["input"]
    match detail["type"]:
        case "union_tag_invalid" | "union_tag_not_found":
            name = f"{name}.name"
            given = detail["ctx"].get("tag")
            hint = did_you_mean(given, TASKS)
            return f"{source(name)}: must be one of {', '.join(TASKS)}; got {given}{hint}"
        case "missing":
            return f"{source(name)}: missing"
        case "value_error" if not name:
            name, _, message = str(detail["ctx"]["error"]).partition(": ")
            return f"{source(name)}: {message}"
        case "literal_error":
            expected = detail["ctx"]["expected"]
            hint = did_you_mean(given, re.findall(r"'(\w+)'", expected))
            return f"{source(name)}: must be {expected}; got {given!r}{hint}"
        case "dataclass_type" | "model_attributes_type" | "dict_type":
            return f"{source(name)}: must be a mapping of fields; got {given!r}"
    expected = detail["msg"].removeprefix("Input should be ")
    return f"{source(name)}: must be {expected}; got {given!r}"


def _leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a nested mapping by dotted name."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            leaves |= _leaves(value, f"{name}.")
        else:
            leaves[name] = value
    return leaves
