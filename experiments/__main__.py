"""Entry point: ``python -m experiments COMMAND``."""

import importlib
import sys
from collections.abc import Sequence

from experiments.errors import Interrupted, TrainingFailed, UserError
from experiments.streams import finish_streams, open_streams

COMMANDS = {
    "train": "experiments.commands.train:train_command",
    "sweep": "experiments.commands.sweep:sweep_command",
    "search": "experiments.commands.search:search_command",
    "evaluate": "experiments.commands.evaluate:evaluate_command",
    "replay": "experiments.commands.replay:replay_command",
    "report": "experiments.commands.report:report_command",
    "draw": "experiments.commands.draw:draw_command",
    "profile": "experiments.commands.profile:profile_command",
    "bench": "experiments.bench.command:bench_command",
    "list": "experiments.commands.listing:list_command",
}
"""The function of every command, which takes the words after the command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
      arguments: the words of the command line; None for those of this process.

    Returns:
      0: done; 1: failed; 2: bad usage; 128 + N: stopped by signal N.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return dispatch(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except TrainingFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except Interrupted as error:
        print(error, file=sys.stderr)
        return 128 + error.signum
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"failed: {place}{error.strerror or error}", file=sys.stderr)
        return 1


def dispatch(arguments: list[str]) -> int:
    """Call the function of a command.

    Args:
      arguments: the words of the command line.

    Returns:
      The exit code.
    """
    match arguments:
        case [] | ["-h" | "--help", *_]:
            from experiments.commands.pages import print_overview

            print_overview()
            return 0 if arguments else 2
        case [command, *rest] if command in COMMANDS:
            asked = {"-h", "--help"} & set(rest[:1] if command == "train" else rest)
            # After CONFIG, train prints the fields of the file.
            if asked:
                from experiments.commands.pages import PAGES, print_command_help

                print_command_help(PAGES[command])
                return 0
            module, name = COMMANDS[command].split(":")
            # Imported here, so that usage errors do not wait for JAX.
            return getattr(importlib.import_module(module), name)(rest)
        case [command, *_]:
            from lstm_jax.did_you_mean import did_you_mean

            hint = did_you_mean(command, COMMANDS) or f"; there are {', '.join(COMMANDS)}"
            raise UserError(f"unknown command {command!r}{hint}")
    raise AssertionError(arguments)


if __name__ == "__main__":
    open_streams()
    sys.exit(main() or finish_streams())
