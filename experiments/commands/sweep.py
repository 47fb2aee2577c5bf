"""``python -m experiments sweep``: train all points of a sweep file."""

from pathlib import Path

from experiments.commands.flag_parser import FlagParser
from experiments.commands.overrides import first_path, split_flags
from experiments.errors import UserError
from experiments.sweep.groups import MAX_LANES
from experiments.sweep.plan import describe_plan, make_plan
from experiments.sweep.results import results_table
from experiments.sweep.run import run_sweep
from experiments.sweep.spec import read_sweep


def sweep_command(words: list[str]) -> int:
    """``sweep FILE [--workdir DIR] [--max_lanes N] [--dry-run] [--no-figures] [--any.field v]``."""
    path, rest = first_path(words, "sweep", "FILE", "such as configs/sweeps/learning_rates.yaml")
    own, overrides = split_flags(rest)
    parser = FlagParser("sweep")
    parser.add_argument("--workdir")
    parser.add_argument("--max_lanes", type=int, default=MAX_LANES)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--no-figures", action="store_true")
    given = parser.parse(own)
    if given.max_lanes < 1:
        raise UserError(f"sweep: --max_lanes: must be at least 1; got {given.max_lanes}")
    if given.workdir == "":
        raise UserError("--workdir needs a value")
    spec = read_sweep(path, overrides)
    folder = Path(given.workdir if given.workdir is not None else f"runs/{path.stem}")
    if given.dry_run:
        print(describe_plan(make_plan(spec, folder, given.max_lanes)))
        return 0
    points = run_sweep(spec, folder, given.max_lanes, figures=not given.no_figures)
    print("\n" + results_table(folder, points))
    return 0
