"""What the command line asks for, and the nearest valid word where there is no such thing."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, NoReturn

from experiments.bench.implementations import (
    Implementation,
    find_implementation,
    implementations,
    peers,
)
from experiments.bench.suites import NAMES, Suite
from experiments.errors import UserError, did_you_mean

NOBODY = "none"


class Arguments(argparse.Namespace):
    """The flags of ``bench``; those that were not given are None."""

    suite: str | None
    against: str | None
    rounds: int | None
    cases: str | None
    implementations: str | None
    out: str | None
    render: bool


class Plan(NamedTuple):
    """What is going to be measured.

    Attributes:
      suite: with the cases that were asked for.
      implementations: in the order of tables, this library's first.
      rounds: how many.
    """

    suite: Suite
    implementations: list[Implementation]
    rounds: int


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"bench: {message.removeprefix('argument ')}")


def parse(words: Sequence[str]) -> Arguments:
    """Read the flags of ``bench``.

    Args:
      words: the command line after ``bench``.

    Raises:
      UserError: when a flag is unknown, misses its value, or has one that it cannot have.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    flags = [
        parser.add_argument("--suite"),
        parser.add_argument("--against"),
        parser.add_argument("--rounds", type=int),
        parser.add_argument("--cases"),
        parser.add_argument("--implementations"),
        parser.add_argument("--out"),
        parser.add_argument("--render", action="store_true"),
    ]
    given, unknown = parser.parse_known_args(list(words), Arguments())
    if unknown:
        hint = did_you_mean(
            unknown[0].partition("=")[0], [flag.option_strings[0] for flag in flags]
        )
        raise UserError(f"bench: unexpected argument {unknown[0]!r}{hint}")
    if given.suite is not None:
        _chosen("--suite", given.suite, NAMES)
    if given.rounds is not None and given.rounds < 1:
        raise UserError(f"bench: --rounds: must be at least 1; got {given.rounds}")
    if given.out == "":
        raise UserError("bench: --out needs a value")
    measuring = ("against", "rounds", "cases", "implementations")
    needless = [name for name in measuring if getattr(given, name) is not None]
    if given.render and needless:
        raise UserError(f"bench: --{needless[0]} does not go with --render, which measures nothing")
    return given


def plan(given: Arguments, suite: Suite) -> Plan:
    """What the flags choose of a suite; everything where they say nothing.

    Args:
      given: the flags.
      suite: what there is to choose from.

    Raises:
      UserError: when they name what is not there.
    """
    known = backend_names()
    mine = suite.own_implementations(known)
    if given.implementations is not None:
        mine = _chosen("--implementations", given.implementations, mine if suite.ours else known)
    theirs = suite.peers
    if given.against is not None:
        theirs = () if given.against == NOBODY else _chosen("--against", given.against, theirs)
    cases = suite.cases
    if given.cases is not None:
        names = _chosen("--cases", given.cases, [case.name for case in cases])
        cases = tuple(case for case in cases if case.name in names)
    return Plan(
        replace(suite, cases=cases),
        [find_implementation(name) for name in mine]
        + peers(theirs, suite.device, keeps_pages=suite.keeps_pages),
        given.rounds or suite.rounds,
    )


def spelled(given: Arguments) -> list[str]:
    """The flags that change what is measured, as words.

    Args:
      given: the flags.

    >>> spelled(parse(["--rounds=2", "--out", "here", "--cases", "small"]))
    ['--rounds', '2', '--cases', 'small']
    """
    names = ("suite", "against", "rounds", "cases", "implementations")
    values = [(f"--{name}", getattr(given, name)) for name in names]
    return [word for name, value in values if value is not None for word in (name, str(value))]


def _chosen(flag: str, text: str, valid: Sequence[str]) -> tuple[str, ...]:
    """The names in a list with commas, each once."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in valid:
            hint = did_you_mean(word, valid)
            raise UserError(f"bench: {flag}: must be of {', '.join(valid)}; got {word!r}{hint}")
    return tuple(dict.fromkeys(words))
