"""The command line of ``bench``: its flags, and what they select of a suite."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from experiments.bench.implementation import Implementation, backend_names, own_implementation
from experiments.bench.peers import peer_implementations
from experiments.bench.suites import NAMES, Suite
from experiments.commands.flag_parser import FlagParser
from experiments.errors import UserError
from lstm_jax.did_you_mean import did_you_mean

NO_PEERS = "none"


class Arguments(argparse.Namespace):
    """The flags of ``bench``; None for flags that were not passed."""

    suite: str | None
    against: str | None
    rounds: int | None
    cases: str | None
    implementations: str | None
    out: str | None
    render: bool


class Plan(NamedTuple):
    """What to measure.

    Attributes:
      suite: the suite with the selected cases.
      implementations: in the order of the tables, those of this library first.
      rounds: number of rounds.
    """

    suite: Suite
    implementations: list[Implementation]
    rounds: int


def parse(words: Sequence[str]) -> Arguments:
    """Parse the flags of ``bench``.

    Args:
      words: the command line after ``bench``.

    Raises:
      UserError: if a flag is unknown, or its value is missing or invalid.
    """
    parser = FlagParser("bench")
    flags = [
        parser.add_argument("--suite"),
        parser.add_argument("--against"),
        parser.add_argument("--rounds", type=int),
        parser.add_argument("--cases"),
        parser.add_argument("--implementations"),
        parser.add_argument("--out"),
        parser.add_argument("--render", action="store_true"),
    ]
    arguments, unknown = parser.parse_known_args(list(words), Arguments())
    if unknown:
        hint = did_you_mean(
            unknown[0].partition("=")[0], [flag.option_strings[0] for flag in flags]
        )
        raise UserError(f"bench: unexpected argument {unknown[0]!r}{hint}")
    if arguments.suite is not None:
        _names("--suite", arguments.suite, NAMES)
    if arguments.rounds is not None and arguments.rounds < 1:
        raise UserError(f"bench: --rounds: must be at least 1; got {arguments.rounds}")
    if arguments.out == "":
        raise UserError("bench: --out needs a value")
    measuring = ("against", "rounds", "cases", "implementations")
    unused = [name for name in measuring if getattr(arguments, name) is not None]
    if arguments.render and unused:
        raise UserError(f"bench: --{unused[0]} does not go with --render, which measures nothing")
    return arguments


def plan(arguments: Arguments, suite: Suite) -> Plan:
    """Select cases, implementations and peers of a suite; by default all.

    Args:
      arguments: the flags.
      suite: the whole suite.

    Raises:
      UserError: if the suite has no case, implementation or peer of a name.
    """
    backends = backend_names()
    own = suite.own_implementations(backends)
    if arguments.implementations is not None:
        valid = own if suite.ours else backends
        own = _names("--implementations", arguments.implementations, valid)
    peers = suite.peers
    if arguments.against is not None:
        no_peers = arguments.against == NO_PEERS
        peers = () if no_peers else _names("--against", arguments.against, peers)
    cases = suite.cases
    if arguments.cases is not None:
        names = _names("--cases", arguments.cases, [case.name for case in cases])
        cases = tuple(case for case in cases if case.name in names)
    return Plan(
        replace(suite, cases=cases),
        [own_implementation(name) for name in own]
        + peer_implementations(peers, suite.device, tuned_jax=suite.tuned_jax),
        arguments.rounds or suite.rounds,
    )


def measuring_flags(arguments: Arguments) -> list[str]:
    """The flags that change what is measured, as words of a command line.

    Args:
      arguments: the flags.

    >>> measuring_flags(parse(["--rounds=2", "--out", "here", "--cases", "small"]))
    ['--rounds', '2', '--cases', 'small']
    """
    names = ("suite", "against", "rounds", "cases", "implementations")
    values = [(f"--{name}", getattr(arguments, name)) for name in names]
    return [word for name, value in values if value is not None for word in (name, str(value))]


def _names(flag: str, text: str, valid: Sequence[str]) -> tuple[str, ...]:
    """The names in a comma-separated list, without repetitions."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in valid:
            hint = did_you_mean(word, valid)
            raise UserError(f"bench: {flag}: must be one of {', '.join(valid)}; got {word!r}{hint}")
    return tuple(dict.fromkeys(words))
