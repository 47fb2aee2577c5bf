"""From a YAML file and command-line overrides to a `Config`, with errors a person can act on."""

import dataclasses
import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import TypeAdapter, ValidationError

from experiments.config import Config
from experiments.errors import UserError, did_you_mean
from experiments.tasks import AnyTask
from experiments.yaml_file import parse_value, read_yaml

TASKS = {task.name: task for task in get_args(AnyTask)}


def load_config(path: Path, overrides: dict[str, Any] | None = None) -> Config:
    """Read a config file and apply overrides by dotted name.

    Args:
      path: the YAML file.
      overrides: values by dotted name, for example ``{"model.hidden_size": 64}``.

    Returns:
      The validated config.

    Raises:
      UserError: when the file cannot be read or parsed, or a field is unknown or invalid.
    """
    tree = read_yaml(path)
    overrides = overrides or {}
    ours, theirs = overrides.get("task.name"), _task_name(tree)
    if ours is not None and theirs is not None and ours != theirs:
        # Another task than the file's: the file's settings of its own task do not apply.
        tree["task"] = {}
    unknown = _unknown(list(overrides), ours if ours is not None else theirs)
    if unknown:
        raise UserError("\n".join(f"--{name}: {message}" for name, message in unknown.items()))
    for name, value in overrides.items():
        _set(tree, name, value)
    return _validate(tree, path, overrides)


def dump_config(config: Config) -> str:
    """The config as YAML, every field written out."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)


def parse_overrides(arguments: Sequence[str], as_text: Sequence[str] = ()) -> dict[str, Any]:
    """Read ``--any.field value`` and ``--any.field=value``; values are written as in YAML.

    Args:
      arguments: the words of the command line.
      as_text: names whose values are taken as they are, such as paths.

    Returns:
      Values by dotted name.

    Raises:
      UserError: when a flag has no value, a value no flag, or a value is not YAML.

    >>> parse_overrides(["--model.hidden_size", "64", "--optimizer.learning_rate=3e-4"])
    {'model.hidden_size': 64, 'optimizer.learning_rate': 0.0003}
    """
    overrides: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--") or flag == "--":
            raise UserError(f"unexpected argument {flag!r}; fields are set by --any.field value")
        name, equals, text = flag[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UserError(f"--{name} needs a value")
            text = rest.pop(0)
        name = name.replace("-", "_")
        overrides[name] = text if name in as_text else parse_value(name, text)
    return overrides


def differences(ours: Config, theirs: Config) -> list[str]:
    """Fields in which two configs differ, as ``name: ours, not theirs``."""
    a, b = _leaves(dataclasses.asdict(ours)), _leaves(dataclasses.asdict(theirs))
    missing = "(none)"
    return [
        f"{name}: {a.get(name, missing)}, not {b.get(name, missing)}"
        for name in dict.fromkeys([*a, *b])
        if a.get(name, missing) != b.get(name, missing)
    ]


def field_names(task: Any = None) -> list[str]:
    """Every dotted field name, with those of one task, or of all where it names none."""
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


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The valid dotted name that was most likely meant, if any is near.

    >>> nearest("model.hiden_size", ["model.hidden_size", "train.updates"])
    'model.hidden_size'
    >>> nearest("hidden_size", ["model.hidden_size", "train.updates"])
    'model.hidden_size'
    """
    tail = name.rsplit(".", 1)[-1]
    tails = {candidate.rsplit(".", 1)[-1]: candidate for candidate in names}
    if tail in tails:
        return tails[tail]
    for word, words in ((name, {n: n for n in names}), (tail, tails)):
        close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
        if close:
            return words[close[0]]
    return None


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
        # As JSON, since strict validation takes mappings for dataclasses only from there.
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
    """What to say of each name that no field has."""
    names = field_names(task)
    sections = {name.partition(".")[0] for name in names if "." in name}
    messages = {}
    for name in given:
        if name not in names and name not in sections:
            hint = nearest(name, names)
            messages[name] = "unknown field" + (f"; did you mean {hint}?" if hint else "")
    return messages


def _message(detail: Any, source: Any) -> str:
    """One pydantic error as one line."""
    # The discriminated union puts the task's own name into the path.
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
    wanted = detail["msg"].removeprefix("Input should be ")
    return f"{source(name)}: must be {wanted}; got {given!r}"


def _leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping by dotted names."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            leaves |= _leaves(value, f"{name}.")
        else:
            leaves[name] = value
    return leaves
