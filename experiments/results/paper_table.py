"""The results of 1997 beside those of rows that repeat them, experiment by experiment.

Reference: Hochreiter & Schmidhuber (1997), *Long short-term memory*, section 5.
"""

from collections.abc import Sequence

import numpy as np

from experiments.report.markdown import markdown_table
from experiments.results.paper import paper_results
from experiments.results.rows import Row
from experiments.tasks.hs1997.paper import PAPER, PaperResult

COLUMNS = ("experiment", "setting", "paper")


def paper_table(rows: Sequence[Row]) -> str:
    """A line for every row of the paper, with a column for each arm that repeats it.

    Cells have the success rate, the mean number of sequences until success, and the mean share of
    wrong test sequences. That of a row here is over its solved seeds, as the paper's is, with the
    ratio to the paper's.

    Args:
      rows: rows, of which those with a `Declared.paper` are shown.
    """
    repeated = [row for row in rows if row.declared.paper is not None]
    arms = list(dict.fromkeys(row.arm for row in repeated))
    lines = []
    for result in PAPER:
        cells = [_paper(result)]
        for arm in arms:
            of_arm = [row for row in repeated if row.arm == arm and result in results_of(row)]
            cells.append("\n".join(_row(row, result) for row in of_arm))
        lines.append([result.experiment, result.setting, *cells])
    return markdown_table([*COLUMNS, *arms], lines)


def results_of(row: Row) -> list[PaperResult]:
    """The results of the paper that a row repeats."""
    return [] if row.declared.paper is None else paper_results(row.declared.paper)


def mean_sequences(row: Row, goal: str) -> tuple[int, float]:
    """The seeds that reached a goal, and the mean number of sequences until then; nan for none.

    Args:
      row: the row.
      goal: ``"solved"`` or ``"mastered"``.
    """
    found = [seed.reached_at.get(goal) for seed in row.seeds]
    counts = [at * row.sequences_per_update for at in found if at is not None]
    return len(counts), float(np.mean(counts)) if counts else float("nan")


def _paper(result: PaperResult) -> str:
    parts = [
        f"{result.success:.0%} of {result.trials}",
        f"{result.sequences:,} sequences",
        "" if result.wrong is None else f"{result.wrong:.2%} wrong",
    ]
    return "\n".join(filter(None, parts))


def _row(row: Row, result: PaperResult) -> str:
    count, mean = mean_sequences(row, result.goal)
    parts = [f"{count / len(row.seeds):.0%} of {len(row.seeds)}"]
    if count:
        ratio = f"{mean / result.sequences:.2g} times" if mean else ""
        parts.append(f"{mean:,.0f} sequences, {ratio}")
    wrong = row.result.finite("wrong")
    if wrong:
        parts.append(f"{np.mean(wrong):.2%} wrong")
    return "\n".join(parts)
