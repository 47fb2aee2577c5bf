"""Entry point: ``python -m experiments COMMAND``."""

import importlib
import sys
from collections.abc import Sequence

from experiments.errors import Interrupted, TrainingFailed, UserError
from experiments.streams import finish_streams, open_streams

USAGE = """\
usage: python -m experiments COMMAND ...

commands:
  train CONFIG [--workdir DIR] [--sink tensorboard|wandb|MODULE:NAME] [--any.field value ...]
      train a config, or resume its run in the workdir; --sink may be repeated
  sweep FILE [--workdir DIR] [--dry-run] [--max_lanes N] [--no-figures] [--any.field value ...]
      train all points of a sweep, or go on with it; --dry-run says what would run and how long
  search FILE [--workdir DIR] [--trials N] [--workers N] [--storage URL] [--any.field value ...]
      search for good values of fields with Optuna, with several workers on one study
  evaluate WORKDIR [--task.field value ...] [--eval.field value ...]
      evaluate a trained model, also on other lengths or more sequences
  replay DIR
      compute the update again at which a seed diverged, from a folder in WORKDIR/diverged
  report WORKDIR ... [--format terminal|markdown|csv] [--out FOLDER|none] [--metric NAME]
        [--by FIELD ...]
      compare runs, or all runs in a folder, in tables and figures (in runs/report)
  profile CONFIG [--updates N] [--out DIR] [--any.field value ...]
      print where the time of a training goes, and write a profiler trace
  bench [--suite cpu|gpu|layers|stream|memory|compile|scaling] [--cases NAME,...] [--rounds N]
        [--against flax,torch,haiku,equinox,keras|none] [--implementations NAME,...]
        [--out FOLDER] [--render]
      measure this library beside other libraries, and write the suite's page to docs/benchmarks
      or to FOLDER; --render only writes pages and pictures again from measured results
  list [FOLDER]
      list the configs with their expected results

python -m experiments COMMAND --help prints a page with examples, and train CONFIG --help every
field with its range and its value in the file."""


COMMANDS = {
    "train": "experiments.commands.train:train_command",
    "sweep": "experiments.commands.sweep:sweep_command",
    "search": "experiments.commands.search:search_command",
    "evaluate": "experiments.commands.evaluate:evaluate_command",
    "replay": "experiments.commands.replay:replay_command",
    "report": "experiments.commands.report:report_command",
    "profile": "experiments.commands.profile:profile_command",
    "bench": "experiments.bench.command:bench_command",
    "list": "experiments.commands.listing:list_command",
}
"""The function of every command, which takes the words after the command."""

WITH_OWN_HELP = {"train", "profile"}
"""Commands that print a help of their own after their first argument."""


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
            print(USAGE)
            return 0 if arguments else 2
        case [command, *rest] if command in COMMANDS:
            if rest[:1] in (["-h"], ["--help"]) or (
                command not in WITH_OWN_HELP and {"-h", "--help"} & set(rest)
            ):
                from experiments.commands.pages import PAGES, print_command_help

                print_command_help(PAGES[command])
                return 0
            module, name = COMMANDS[command].split(":")
            # Imported here, so that usage errors do not wait for JAX.
            return getattr(importlib.import_module(module), name)(rest)
        case [command, *_]:
            from lstm_jax.did_you_mean import did_you_mean

            # One line is enough where the name is near that of a command.
            rest_of_message = did_you_mean(command, COMMANDS) or f"\n{USAGE}"
            raise UserError(f"unknown command {command!r}{rest_of_message}")
    raise AssertionError(arguments)


if __name__ == "__main__":
    open_streams()
    sys.exit(main() or finish_streams())
