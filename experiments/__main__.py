"""Entry point: ``python -m experiments {train,evaluate,report,profile,bench,list}``."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.errors import Interrupted, TrainingFailed, UserError

USAGE = """\
usage: python -m experiments COMMAND ...

commands:
  train CONFIG [--workdir DIR] [--any.field value ...]
      train a config, or resume its run in the workdir
  evaluate WORKDIR [--task.field value ...] [--eval.field value ...]
      evaluate a trained model, also on other lengths or more sequences
  report WORKDIR ...
      print a Markdown table of finished runs
  profile CONFIG [--updates N] [--out DIR] [--any.field value ...]
      print where the time of a training goes, and write a profiler trace
  bench [--suite cpu|gpu|layers|stream|memory|compile|scaling] [--cases NAME,...] [--rounds N]
        [--against flax,torch,haiku,equinox,keras|none] [--implementations NAME,...]
        [--out FOLDER] [--render]
      measure this library beside other libraries, and write the suite's page to docs/benchmarks
      or to FOLDER; --render only writes pages and pictures again from measured results
  list [FOLDER]
      list the configs with their expected results

python -m experiments train CONFIG --help prints every field with the values of the file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
      arguments: the words of the command line; None for those of this process.

    Returns:
      0: done; 1: failed; 2: bad usage; 128 + N: stopped by signal N.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = dispatch(arguments)
        # Flush here, not when Python exits, so that a closed pipe is handled below.
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
        # The reader closed the pipe: discard the rest, also when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
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
    # Imports are inside the cases, so that usage errors do not wait for JAX.
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
            from experiments.commands.command_line import train_command

            return train_command(rest)
        case ["evaluate", *rest]:
            from experiments.commands.command_line import evaluate_command

            return evaluate_command(rest)
        case ["report", *rest]:
            from experiments.report.table import report

            if not rest:
                raise UserError("report: WORKDIR comes next: the folder of a finished run")
            print(report([Path(folder) for folder in rest]))
            return 0
        case ["profile", *rest]:
            from experiments.commands.profile import profile_command

            return profile_command(rest)
        case ["bench", *rest]:
            from experiments.bench.command import bench_command

            return bench_command(rest)
        case ["list", *rest]:
            from experiments.commands.listing import list_configs

            return list_configs([Path(folder) for folder in rest])
        case [command, *_]:
            from lstm_jax.did_you_mean import did_you_mean

            hint = did_you_mean(
                command, ["train", "evaluate", "report", "profile", "bench", "list"]
            )
            raise UserError(f"unknown command {command!r}{hint}\n{USAGE}")
    raise AssertionError(arguments)


if __name__ == "__main__":
    sys.exit(main())
