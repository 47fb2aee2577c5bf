"""The words of a command line that name a file, and those that set fields of a config."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.config.yaml_file import parse_value
from experiments.errors import UserError

TOP_FIELDS = ("seed", "seeds")
"""Fields of a config that are in no section."""


def first_path(words: list[str], command: str, name: str, what: str) -> tuple[Path, list[str]]:
    """The path that is the first argument of a command, and the other words.

    Args:
      words: the words after the command.
      command: the command, for the message.
      name: the name of the argument, for the message.
      what: what the argument is, for the message.

    Raises:
      UserError: if the first word is missing or a flag.
    """
    if not words or words[0].startswith("-"):
        raise UserError(f"{command}: {name} comes first: {what}")
    return Path(words[0]), words[1:]


def parse_overrides(arguments: Sequence[str], as_text: Sequence[str] = ()) -> dict[str, Any]:
    """Parse ``--any.field value`` and ``--any.field=value``, with values in YAML.

    Args:
      arguments: the words of the command line.
      as_text: names whose values are kept as text, such as paths.

    Returns:
      Values by dotted name.

    Raises:
      UserError: if a flag has no value, a value has no flag, or a value is not YAML.

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


def split_flags(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The words that are flags of a command, and the fields of the config that others set.

    A field has a dot in its name, or is ``seed`` or ``seeds``.

    >>> split_flags(["--dry-run", "--train.updates", "100", "--seeds=2"])
    (['--dry-run'], {'train.updates': 100, 'seeds': 2})
    """
    own: list[str] = []
    fields: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, equals, _ = word.partition("=")
        name = flag[2:].replace("-", "_")
        if word.startswith("--") and ("." in name or name in TOP_FIELDS):
            fields.append(word)
            if not equals and rest:
                fields.append(rest.pop(0))
        else:
            own.append(word)
    return own, parse_overrides(fields)


def take_repeated(arguments: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """The values of a flag that may be repeated, and the other words.

    Raises:
      UserError: if the flag has no value.

    >>> take_repeated(["--sink", "wandb", "--seed", "3", "--sink=tensorboard"], "sink")
    (['wandb', 'tensorboard'], ['--seed', '3'])
    """
    values: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag != f"--{name}":
            rest.append(word)
            continue
        if not equals:
            value = next(words, "")
        if not value or value.startswith("--"):
            raise UserError(f"--{name} needs a value")
        values.append(value)
    return list(dict.fromkeys(values)), rest
