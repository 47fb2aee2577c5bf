"""The command line: ``python -m experiments {train,evaluate,report,bench,list}``."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.errors import Interrupted, TrainingFailed, UserError, did_you_mean

USAGE = """\
usage: python -m experiments COMMAND ...

commands:
  train CONFIG [--workdir DIR] [--any.field value ...]
      train what a config file describes, or go on where it stopped
  evaluate WORKDIR [--task.field value ...] [--eval.field value ...]
      test a trained model, also on another length or more sequences
  report WORKDIR ...
      finished runs as a Markdown table
  bench [--suite cpu|gpu|layers|stream|memory|compile|scaling] [--cases NAME,...] [--rounds N]
        [--against flax,torch,haiku,equinox,keras|none] [--implementations NAME,...]
        [--out FOLDER] [--render]
      time this library beside others, and write the suite's page in docs/benchmarks, or in
      FOLDER; with --render only make pages and pictures again from what was measured
  list [FOLDER]
      the configs, and what to expect of each

python -m experiments train CONFIG --help shows every field with the file's values."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 bad usage, 128 + N signal N."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = run_command(arguments)
        # Here, and not when Python exits, so that a reader who has left is no error.
        sys.stdout.flush()
        return code
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
    except BrokenPipeError:
        # Whoever read the output has closed it; nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"failed: {place}{error.strerror or error}", file=sys.stderr)
        return 1


def run_command(arguments: list[str]) -> int:
    """Run one command."""
    # The commands are imported on use, so that usage and typing errors answer at once.
    match arguments:
        case [] | ["-h" | "--help", *_]:
            print(USAGE)
            return 0 if arguments else 2
        case ["evaluate" | "report" | "bench" | "list", *rest] if {"-h", "--help"} & set(rest):
            print(USAGE)
            return 0
        case ["train", "-h" | "--help", *_]:
            print(USAGE)
            return 0
        case ["train", *rest]:
            from experiments import commands

            return commands.train(rest)
        case ["evaluate", *rest]:
            from experiments import commands

            return commands.evaluate(rest)
        case ["report", *rest]:
            from experiments.report import report

            if not rest:
                raise UserError("report: WORKDIR comes next: the folder of a finished run")
            print(report([Path(folder) for folder in rest]))
            return 0
        case ["bench", *rest]:
            from experiments.bench.command import bench

            return bench(rest)
        case ["list", *rest]:
            from experiments.listing import list_configs

            return list_configs([Path(folder) for folder in rest])
        case [command, *_]:
            hint = did_you_mean(command, ["train", "evaluate", "report", "bench", "list"])
            raise UserError(f"unknown command {command!r}{hint}\n{USAGE}")
    raise AssertionError(arguments)


if __name__ == "__main__":
    sys.exit(main())
