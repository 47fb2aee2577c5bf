"""The command report: compares runs in tables and figures, and rebuilds a results page."""

import argparse
import shutil
import sys
from pathlib import Path

from rich.console import Console

from experiments.commands.flag_parser import FlagParser
from experiments.errors import UserError
from experiments.report.arms import Section, make_sections
from experiments.report.csv_table import as_csv
from experiments.report.markdown import as_markdown
from experiments.report.run_table import run_table
from experiments.report.runs import RunResult, find_runs, read_run
from experiments.report.tables import arms_table, explanation, notes, pairs_table
from experiments.report.terminal import print_notes, print_table
from experiments.results.keep import keep_run
from experiments.results.page import has_page, rebuild
from lstm_jax.did_you_mean import did_you_mean

FORMATS = ("terminal", "markdown", "csv")
OUT = Path("runs/report")
NONE = "none"


def report_command(arguments: list[str]) -> int:
    """``report RUNS ... [--format F] [--out FOLDER] [--metric NAME] [--by FIELD ...]``.

    A single folder with a results page, without flags, has its page rebuilt. With ``--keep FOLDER``
    the files of one run that reports read are copied there.

    Args:
      arguments: the words after ``report``.

    Returns:
      The exit code.

    Raises:
      UserError: if a path is not a run, a file is damaged, or a flag is wrong.
    """
    given = _parse(arguments)
    if given.keep is not None:
        return _keep(given)
    if len(arguments) == 1 and has_page(Path(given.runs[0])):
        return _rebuild(Path(given.runs[0]))
    runs = [read_run(path) for path in find_runs([Path(path) for path in given.runs])]
    sections = make_sections(runs, given.by, given.metric)
    match given.format:
        case "csv":
            sys.stdout.write(as_csv(sections))
        case "markdown":
            print(markdown_report(sections, runs))
        case _:
            _print_report(sections)
    out = given.out if given.out is not None or given.format != "terminal" else str(OUT)
    if out not in (None, NONE):
        written = write_report(sections, runs, Path(out))
        if given.format == "terminal":
            print(f"\n{_files(written, Path(out))}")
    return 0


def markdown_report(sections: list[Section], runs: list[RunResult]) -> str:
    """The tables and notes of all sections, and a row for every finished run, as Markdown."""
    parts = []
    for section in sections:
        tables = [arms_table(section), pairs_table(section)]
        parts += [as_markdown(table) for table in tables if table is not None]
        parts.append("\n".join(f"- {note}" for note in notes(section)))
    parts.append(explanation(sections))
    if any(run.summary is not None for run in runs):
        parts.append(run_table(runs))
    return "\n\n".join(parts)


def write_report(sections: list[Section], runs: list[RunResult], folder: Path) -> list[Path]:
    """Write the figures, report.csv and report.md to a folder.

    Returns:
      The files.

    Raises:
      UserError: if the folder cannot be written.
    """
    # Matplotlib takes a second to import, and is not needed to print.
    from experiments.report.figures import draw_report

    try:
        folder.mkdir(parents=True, exist_ok=True)
        figures = []
        for section in sections:
            prefix = f"{section.task.name.rpartition(':')[2]}_" if len(sections) > 1 else ""
            figures += draw_report(section, folder, prefix)
        table, page = folder / "report.csv", folder / "report.md"
        # A path that is not UTF-8 is written as its bytes.
        table.write_text(as_csv(sections), encoding="utf-8", errors="surrogateescape")
        pictures = "\n\n".join(f"![{path.stem}]({path.name})" for path in figures)
        text = f"{markdown_report(sections, runs)}\n\n{pictures}\n"
        page.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
    return [*figures, table, page]


def _rebuild(folder: Path) -> int:
    changed = rebuild(folder)
    names = ", ".join(path.relative_to(folder).as_posix() for path in changed)
    print(f"in {folder}: {names}" if names else f"{folder}: the page shows these results already")
    return 0


def _keep(given: argparse.Namespace) -> int:
    others = (given.format, given.out, given.metric, given.by)
    if len(given.runs) != 1 or others != (FORMATS[0], None, None, []):
        raise UserError("--keep FOLDER takes one WORKDIR, and no other flag")
    if given.keep == "":
        raise UserError("--keep needs a folder")
    folder = Path(given.keep)
    written = keep_run(Path(given.runs[0]), folder)
    size = sum(path.stat().st_size for path in written)
    print(f"{_files(written, folder)}; {size / 1000:,.0f} kB")
    return 0


def _print_report(sections: list[Section]) -> None:
    # Rich takes 80 columns without a terminal, whatever COLUMNS is.
    console = Console(
        file=sys.stdout, width=shutil.get_terminal_size().columns, highlight=False, emoji=False
    )
    for section in sections:
        print_table(console, arms_table(section))
        console.print()
        pairs = pairs_table(section)
        if pairs is not None:
            print_table(console, pairs)
            console.print()
        print_notes(console, notes(section))
        console.print()
    print_notes(console, [explanation(sections)])


def _files(paths: list[Path], folder: Path) -> str:
    names = ", ".join(path.name for path in paths)
    return f"in {folder}: {names}"


def _parse(arguments: list[str]) -> argparse.Namespace:
    if not arguments:
        raise UserError("report: WORKDIR is missing: the folder of a run, or of several")
    parser = FlagParser("report")
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--format", default=FORMATS[0])
    parser.add_argument("--out")
    parser.add_argument("--metric")
    parser.add_argument("--keep")
    parser.add_argument("--by", nargs="+", action="extend", default=[])
    given = parser.parse(arguments)
    if "" in given.runs:
        raise UserError("report: WORKDIR is empty; it must be the folder of a run, or of several")
    if not given.runs:
        raise UserError("report: WORKDIR is missing: the folder of a run, or of several")
    if given.format not in FORMATS:
        hint = did_you_mean(given.format, FORMATS)
        raise UserError(f"--format: must be one of {', '.join(FORMATS)}; got {given.format}{hint}")
    if given.out == "":
        raise UserError(f"--out needs a folder, or {NONE}")
    return given
