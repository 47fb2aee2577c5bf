"""Rules that rename modules in a tree: the argument `rename` of `flax.take_over`.

A rule is a pair of paths, such as ``"encoder/LSTMCell_*": "encoder/LSTM_*"``. The first is compared
with the end of a module's path; the second replaces what it matches.

    *     a level, or a part of a name
    **    any number of levels, also none
    ""    as a new path: the level is dropped, and its contents move up

Wildcards of the new path stand for what those of the first one match, in their order. The rest of
the path, in front of what is matched, is renamed by the other rules. If several rules match, the
one with the most levels besides ``**`` decides; of those with equally many, the first one.

A rule that begins with ``**`` matches the whole path, from the root of the parameters, and the
other rules rename what that ``**`` stands for. So ``"**": "new/**"`` adds a level around a model.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lstm_jax.did_you_mean import did_you_mean

Path = tuple[str, ...]
"""The names from the root of a tree to a module."""

_MOST = 10  # names in a message
_WILDCARD = re.compile(r"\*\*?")
_ANY = "**"


class _Rule(NamedTuple):
    """A rule by its levels.

    Args:
      key: the path as it was given.
      levels: its levels.
      replacement: the levels of the new path.
    """

    key: str
    levels: Path
    replacement: Path

    @property
    def size(self) -> int:
        """How many levels decide between rules that match."""
        return sum(level != _ANY for level in self.levels)

    @property
    def anchored(self) -> bool:
        """Whether it matches whole paths alone."""
        return self.levels[0] == _ANY

    def starts(self, path: Path) -> Iterable[int]:
        """Where in a path it may begin, the nearest to the end first."""
        return (0,) if self.anchored else reversed(range(len(path)))


class PathRules:
    """Rules that rename paths.

    Args:
      function: the public function to name in errors.
      argument: its argument.
      rules: new paths by path, as the module describes.

    Raises:
      TypeError: when `rules` is not a mapping from strings to strings.
      ValueError: when a path has an empty name, or the wildcards of a pair do not match.

    >>> rules = PathRules("f", "rename", {"Cell_*": "LSTM_*", "Step": "", "a/Cell_0": "b"})
    >>> [rules.new_path(path) for path in (("Step", "Cell_1"), ("x", "a", "Cell_0"))]
    [('LSTM_1',), ('x', 'b')]
    """

    def __init__(self, function: str, argument: str, rules: Any) -> None:
        self.function, self.argument = function, argument
        if not isinstance(rules, Mapping) or not all(
            isinstance(path, str) for pair in rules.items() for path in pair
        ):
            raise TypeError(
                f"{function}: {argument} must be a mapping from paths to paths, which are strings;"
                f" got {rules!r}"
            )
        for key, new in rules.items():
            self._check(key, new)
        made = [
            _Rule(key, tuple(key.split("/")), tuple(new.split("/")) if new else ())
            for key, new in rules.items()
        ]
        self._rules = sorted(made, key=lambda rule: -rule.size)
        self._unused = dict.fromkeys(rules)

    def new_path(self, path: Path) -> Path:
        """Return the new path of a module."""
        return self._renamed(path, ())

    def _renamed(self, path: Path, used: tuple[str, ...]) -> Path:
        """Return the new path, without the rules for whole paths that were used already."""
        found = [match for match in self._matches(path) if match[0].key not in used]
        if not found:
            return (*self._renamed(path[:-1], used), path[-1]) if path else ()
        rule, start, captured = found[0]
        if not rule.anchored:
            return (*self._renamed(path[:start], used), *_fill(rule.replacement, captured))
        front = self._renamed(captured[0], (*used, rule.key))
        return _fill(rule.replacement, [front, *captured[1:]])

    def matches(self, path: Path) -> bool:
        """Return whether a rule matches the end of a path."""
        return bool(self._matches(path))

    def names(self, path: Path) -> bool:
        """Return whether a rule that matches has the last name of a path, not a wildcard."""
        return any(rule.levels[-1] == path[-1] for rule, *_ in self._matches(path))

    def _matches(self, path: Path) -> list[tuple[_Rule, int, list[Path]]]:
        """The rules that match: where, and what their wildcards stand for."""
        found = []
        for rule in self._rules:
            for start in rule.starts(path):
                if (captured := match(rule.levels, path[start:])) is not None:
                    self._unused.pop(rule.key, None)
                    found.append((rule, start, captured))
                    break
        return found

    def check_used(self, paths: Iterable[Path], found: Iterable[str], *, most: int = _MOST) -> None:
        """Check that every rule has matched a path.

        Args:
          paths: the paths of all modules, for the nearest one.
          found: descriptions of the modules that are converted.
          most: how many of them the message lists.

        Raises:
          ValueError: when one has not.
        """
        for key in self._unused:
            levels = len(key.split("/"))
            ends = dict.fromkeys("/".join(path[-levels:]) for path in paths)
            raise ValueError(
                f"{self.function}: {self.argument}: no module is called {key!r}"
                f"{did_you_mean(key, ends, quoted=True)}; found: {shortened(found, most)}"
            )

    def _check(self, key: str, new: str) -> None:
        where = f"{self.function}: {self.argument}"
        for path in {key: None, new: None} if new else [key]:
            levels = path.split("/")
            if not all(levels):
                raise ValueError(
                    f"{where}: a path must be names with single slashes between them; got {path!r}"
                )
            if any(_ANY in level and level != _ANY for level in levels):
                raise ValueError(f"{where}: '**' must be a level of its own; got {path!r}")
            if f"{_ANY}/{_ANY}" in path:
                raise ValueError(f"{where}: '**' must not follow another; got {path!r}")
        wildcards = _WILDCARD.findall(new)
        if wildcards and wildcards != _WILDCARD.findall(key):
            raise ValueError(
                f"{where}: a new path must have all wildcards of the old one, in their order, or"
                f" none; got {new!r} for {key!r}"
            )


def match(levels: Path, path: Path) -> list[Path] | None:
    """Match a whole path with levels that may have wildcards.

    Args:
      levels: names, ``**``, or names with ``*``.
      path: the path.

    Returns:
      What each wildcard matches, as paths; None for no match.

    >>> match(("**", "*", "cell_*"), ("a", "b", "c", "cell_0"))
    [('a', 'b'), ('c',), ('0',)]
    >>> match(("a", "b"), ("a", "c")) is None
    True
    """
    if not levels:
        return None if path else []
    first, rest = levels[0], levels[1:]
    if first == _ANY:
        for size in range(len(path) + 1):
            if (captured := match(rest, path[size:])) is not None:
                return [path[:size], *captured]
        return None
    if not path:
        return None
    pattern = "(.*)".join(map(re.escape, first.split("*")))
    found = re.fullmatch(pattern, path[0])
    captured = match(rest, path[1:])
    if found is None or captured is None:
        return None
    return [*((group,) for group in found.groups()), *captured]


def shortened(names: Iterable[str], most: int = _MOST) -> str:
    """List names in a message; of many, the first ones.

    >>> shortened("abcd", most=2)
    'a, b and 2 more'
    """
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _fill(levels: Path, captured: list[Path]) -> Path:
    """Return a new path with what the wildcards of the old one match."""
    values, new = iter(captured), []
    for level in levels:
        if level == _ANY:
            new += next(values)
        else:
            new.append(re.sub(r"\*", lambda _: next(values)[0], level))
    return tuple(new)
