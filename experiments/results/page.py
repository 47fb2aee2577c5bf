"""The results page: text by hand, with parts between markers that are made from the runs.

A part begins with ``<!-- generated: WHAT TASK -->`` and ends with ``<!-- end -->``. What stands
between the two is replaced:

====================== =============================================================
``table TASK``         a row for every config, ordered by length, arms beside each other
``missed TASK``        rows that missed their goal: by how much, and why
``curves TASK``        the learning curves of all lengths in one figure
``lengths TASK``       updates and sequences to solve against length, beside published ones
``extrapolation TASK`` the metric at other lengths than those of the training
``paper 1997``         the results of 1997, with those of the rows that repeat them
====================== =============================================================
"""

import re
from collections.abc import Callable
from pathlib import Path

from experiments.errors import UserError
from experiments.results.declared import Published
from experiments.results.folder import PAGE, Results, figure_name, read_results
from experiments.results.paper_table import paper_table
from experiments.results.tables import missed_list, rows_table
from experiments.run.atomic_write import write_atomic
from lstm_jax.did_you_mean import did_you_mean

PART = re.compile(r"(<!-- generated: (\w+) ([\w:.-]+) -->\n)(.*?)(<!-- end -->)", re.S)
BEGINS = re.compile(r"<!-- generated:[^\n]*")


def has_page(folder: Path) -> bool:
    """Whether a folder has a results page, with a part that is made from runs."""
    page = folder / PAGE
    if not page.is_file():
        return False
    # A page of another kind may be no UTF-8.
    return BEGINS.search(page.read_text(encoding="utf-8", errors="replace")) is not None


def page_text(results: Results) -> str:
    """The page with all parts made anew.

    Raises:
      UserError: if a marker is not known, or names a task without runs.
    """
    page = results.folder / PAGE
    text = page.read_text(encoding="utf-8")
    whole = [match.group(1).strip() for match in PART.finditer(text)]
    for begun in BEGINS.findall(text):
        if begun.strip() not in whole:
            raise UserError(f"{page}: {begun}: must be <!-- generated: WHAT TASK -->, with an end")

    def part(match: re.Match[str]) -> str:
        begin, what, task, _, end = match.groups()
        if what not in PARTS:
            hint = did_you_mean(what, PARTS)
            raise UserError(f"{page}: {begin.strip()}: must be one of {', '.join(PARTS)}{hint}")
        return f"{begin}\n{PARTS[what](results, task)}\n\n{end}"

    return PART.sub(part, text)


def rebuild(folder: Path) -> list[Path]:
    """Make the page and its figures anew.

    Figures that show the same results as before are not drawn again.

    Args:
      folder: the folder of the page.

    Returns:
      The files that changed.

    Raises:
      UserError: as `read_results` and `page_text`.
    """
    # Matplotlib takes a second to import.
    from experiments.results.figures import draw_outdated

    results = read_results(folder)
    text = page_text(results)
    changed = draw_outdated(results, wanted_figures(text))
    page = folder / PAGE
    if text != page.read_text(encoding="utf-8"):
        write_atomic(page, text)
        changed.append(page)
    return changed


def wanted_figures(text: str) -> list[tuple[str, str]]:
    """The figures of a page, as pairs of what they show and the task."""
    parts = [(match.group(2), match.group(3)) for match in PART.finditer(text)]
    return [(what, task) for what, task in parts if what in CAPTIONS]


def _table(results: Results, task: str) -> str:
    return rows_table(results.of_task(task))


def _missed(results: Results, task: str) -> str:
    rows = results.of_task(task)
    with_run = {row.name for row in rows}
    without = [
        (name, said)
        for name, said in results.declared.items()
        if said.task == task and name not in with_run
    ]
    return missed_list(rows, without)


def _of_paper(results: Results, year: str) -> str:
    if year != "1997":
        raise UserError(f"{results.folder / PAGE}: paper: must be 1997; got {year}")
    return paper_table([row for rows in results.rows.values() for row in rows])


def _figure(what: str) -> Callable[[Results, str], str]:
    def link(results: Results, task: str) -> str:
        results.of_task(task)
        lines = [f"![{CAPTIONS[what]}]({figure_name(what, task)})"]
        if what == "lengths":
            lines += map(_source, results.published.get(task, []))
        return "\n\n".join(lines)

    return link


def _source(published: Published) -> str:
    source, criterion = (" ".join(text.split()) for text in (published.source, published.criterion))
    count = f"updates of {published.batch_size} sequences"
    return f"{published.name}: {source}; solved is {criterion}; {count}."


CAPTIONS = {
    "curves": "Learning curves of all lengths, with the mean over seeds and its interval",
    "lengths": "Updates and sequences to solve against length, beside published figures",
    "extrapolation": "The error at other lengths than those of the training",
}
"""The captions of the figures that a page can have."""

PARTS: dict[str, Callable[[Results, str], str]] = {
    "table": _table,
    "missed": _missed,
    "curves": _figure("curves"),
    "lengths": _figure("lengths"),
    "extrapolation": _figure("extrapolation"),
    "paper": _of_paper,
}
"""The parts that a page can have, by the first word of their markers."""
