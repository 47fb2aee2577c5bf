"""Parsing of YAML files and values, with short error messages."""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.scanner import ScannerError

from experiments.config.components import short, short_text
from experiments.errors import UserError
from lstm_jax.did_you_mean import did_you_mean

# A config has a few hundred values. What is far larger takes the parser minutes.
MOST_BYTES = 100_000
MOST_VALUES = 5_000
DEEPEST = 20
MOST_DIGITS = 18


class Loader(yaml.SafeLoader):
    """A YAML loader for which ``3e-4`` is a number, and ``no`` and ``12:30`` are text.

    Repeated keys, keys that are no text, aliases, tags, and files that are too large or nested too
    deeply are errors.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.values = 0

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping; a repeated key is an error."""
        keys = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                problem = f"a name must be text; got {short(key)}"
                raise ConstructorError(None, None, problem, key_node.start_mark)
            if key in keys:
                problem = f"the key {short(key)} is repeated"
                raise ConstructorError(None, None, problem, key_node.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Construct an integer of not too many digits."""
        if len(node.value.replace("_", "")) > MOST_DIGITS:
            problem = f"a number of more than {MOST_DIGITS} digits"
            raise ConstructorError(None, None, problem, node.start_mark)
        return super().construct_yaml_int(node)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node; an alias, a tag, or one value too many is an error."""
        event = self.peek_event()
        self.values += 1
        if self.values > MOST_VALUES:
            raise ComposerError(None, None, f"more than {MOST_VALUES:,} values", event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            raise ComposerError(None, None, "aliases are not supported", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise ComposerError(None, None, "tags are not supported", event.start_mark)
        return super().compose_node(parent, index)

    def add_indent(self, column: int) -> bool:
        """Begin a block, which must not be nested too deeply."""
        self._check_depth()
        return super().add_indent(column)

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:
        """Begin a list or mapping in brackets, which must not be nested too deeply."""
        self._check_depth()
        super().fetch_flow_collection_start(TokenClass)

    def _check_depth(self) -> None:
        if self.flow_level + len(self.indents) >= DEEPEST:
            raise ScannerError(None, None, f"nested more than {DEEPEST} deep", self.get_mark())


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
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
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
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(f"{path}: a config has at most {MOST_BYTES:,} bytes")
        text = content.decode("utf-8")
    except FileNotFoundError:
        siblings = [str(p) for p in sorted(path.parent.glob("*.y*ml"))]
        hint = did_you_mean(path, siblings, cutoff=0.5)
        raise UserError(f"{path}: no such file{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(f"{path}: cannot be read: {reason}") from None
    try:
        tree = parse(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = short_text(
            getattr(error, "problem", getattr(error, "reason", None)) or "not valid YAML", 100
        )
        hint = "; check the indentation" if "block" in problem else ""
        raise UserError(f"{path}: {place}{problem}{hint}") from None
    if tree is None:
        raise UserError(f"{path}: the file is empty")
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a config is a mapping of fields; got {type(tree).__name__}")
    return tree


def parse(text: str) -> Any:
    """Parse YAML.

    Raises:
      yaml.YAMLError: if it is not YAML, or none for a config.

    >>> parse("a: 3e-4")
    {'a': 0.0003}
    """
    loader = Loader(text)
    try:
        return loader.get_single_data()
    except (ValueError, TypeError, RecursionError) as error:
        raise yaml.YAMLError(str(error)) from None
    finally:
        loader.dispose()


def parse_value(name: str, text: str) -> Any:
    """Parse the value of a flag as YAML; ``none`` and ``null`` are None.

    Raises:
      UserError: if the text is empty or not YAML.

    >>> parse_value("seed", "3"), parse_value("optimizer.clip_norm", "none")
    (3, None)
    """
    if text in ("none", "None", "null"):
        return None
    name = short_text(name)
    if len(text) > MOST_BYTES:
        raise UserError(f"--{name}: a value has at most {MOST_BYTES:,} characters")
    try:
        value = parse(text)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None)
        reason = f" ({short_text(problem)})" if problem else ""
        raise UserError(f"--{name}: {short(text)} is not a value{reason}") from None
    if value is None:
        raise UserError(f"--{name} needs a value; got {short(text)}")
    return value
