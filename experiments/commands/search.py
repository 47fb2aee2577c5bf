"""``python -m experiments search``: search for good values of fields with Optuna."""

from importlib.util import find_spec
from pathlib import Path

from experiments.commands.flag_parser import FlagParser
from experiments.commands.overrides import first_path, split_flags
from experiments.errors import Interrupted, UserError
from experiments.run.atomic_write import write_atomic
from experiments.search.spec import read_search


def search_command(words: list[str]) -> int:
    """``search FILE [--workdir DIR] [--trials N] [--workers N] [--storage URL] ...``."""
    path, rest = first_path(words, "search", "FILE", "a search, such as configs/search/adding.yaml")
    own, overrides = split_flags(rest)
    parser = FlagParser("search")
    parser.add_argument("--workdir")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--storage")
    parser.add_argument("--no-figures", action="store_true")
    parser.add_argument("--worker", type=int)
    given = parser.parse(own)
    if given.workdir == "":
        raise UserError("--workdir needs a value")
    spec = read_search(path, overrides)
    folder = Path(given.workdir if given.workdir is not None else f"runs/{path.stem}_search")
    trials = spec.trials if given.trials is None else given.trials
    for name, value in (("trials", trials), ("workers", given.workers)):
        if value < 1:
            raise UserError(f"search: --{name}: must be at least 1; got {value}")
    if find_spec("optuna") is None:
        raise UserError(
            "search needs Optuna, which is not installed: pip install -r requirements/search.txt"
        )
    from experiments.search.results import describe_results, results_record
    from experiments.search.study import open_study
    from experiments.search.trial import check_metric
    from experiments.search.workers import run_workers, stop_without_parent, work

    if given.worker is None:
        check_metric(spec)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
    study = open_study(spec, folder, given.storage)
    if given.worker is None and given.workers > 1:
        run_workers(words, given.workers)
    else:
        if given.worker is not None:
            stop_without_parent()
        figures, alone = not given.no_figures, given.worker is None
        try:
            work(spec, folder, given.storage, trials, figures=figures, alone=alone)
        except Interrupted as error:
            text = f"{error} of the search in {folder}; run the same command again to go on"
            raise Interrupted(error.signum, text) from None
    if given.worker is None:
        write_atomic(folder / "best.json", results_record(study))
        print("\n" + describe_results(spec, study, folder))
    return 0
