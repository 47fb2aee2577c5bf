"""``python -m experiments report``: a table of finished runs."""

from pathlib import Path

from experiments.errors import UserError
from experiments.report.table import report


def report_command(words: list[str]) -> int:
    """``report WORKDIR ...``."""
    if not words:
        raise UserError("report: WORKDIR comes next: the folder of a finished run")
    print(report([Path(folder) for folder in words]))
    return 0
