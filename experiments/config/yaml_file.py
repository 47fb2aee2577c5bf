"""Parsing of YAML files and values, with short error messages."""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from experiments.errors import UserError
from lstm_jax.did_you_mean import did_you_mean

# Exceptions of the loader: invalid YAML, too deep nesting, or a list as a key.
NOT_YAML = (yaml.YAMLError, RecursionError, TypeError)


class Loader(yaml.SafeLoader):
    """A YAML loader for which ``3e-4`` is a number, and ``no`` and ``12:30`` are text.

    Repeated keys and aliases are errors.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping; a repeated key is an error."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise ConstructorError(
                    None, None, f"the key {key!r} is repeated", node.value[i][0].start_mark
                )
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node; an alias is an error."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise ComposerError(None, None, "aliases are not supported", mark)
        return super().compose_node(parent, index)


def _resolve_as(kind: str, pattern: str, first: str) -> None:
    tag = f"tag:yaml.org,2002:{kind}"
    Loader.add_implicit_resolver(tag, re.compile(f"^(?:{pattern})$"), list(first))


# In YAML 1.1, 010 is eight, 1:30 is ninety and yes is true: remove these rules.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith(":null")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None
    or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
}
_resolve_as("bool", "true|True|false|False", "tTfF")
_resolve_as("int", "[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789")
_resolve_as(
    "float",
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "-+0123456789.",
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that contains a mapping.

    Raises:
      UserError: if there is no such file, or it is not a YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        siblings = [str(p) for p in sorted(path.parent.glob("*.y*ml"))]
        hint = did_you_mean(path, siblings, cutoff=0.5)
        raise UserError(f"{path}: no such file{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(f"{path}: cannot be read: {reason}") from None
    try:
        tree = yaml.load(text, Loader)
    except NOT_YAML as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        hint = "; check the indentation" if "block" in problem else ""
        raise UserError(f"{path}: {place}{problem}{hint}") from None
    if tree is None:
        raise UserError(f"{path}: the file is empty")
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a config is a mapping of fields; got {type(tree).__name__}")
    return tree


def parse_value(name: str, text: str) -> Any:
    """Parse the value of a flag as YAML; ``none`` and ``null`` are None.

    Raises:
      UserError: if the text is empty or not YAML.

    >>> parse_value("seed", "3"), parse_value("optimizer.clip_norm", "none")
    (3, None)
    """
    if text in ("none", "None", "null"):
        return None
    try:
        value = yaml.load(text, Loader)
    except NOT_YAML:
        raise UserError(f"--{name}: {text!r} is not a value") from None
    if value is None:
        raise UserError(f"--{name} needs a value; got {text!r}")
    return value
