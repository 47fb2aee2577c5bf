"""A report as Markdown."""

from collections.abc import Sequence

from experiments.report.tables import Table


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; line breaks and bars in the cells are kept as such.

    >>> print(markdown_table(["name", "value"], [["a|b", "1"]]))
    | name | value |
    | --- | --- |
    | a\\|b | 1 |
    """
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_escape, row))} |" for row in lines)


def as_markdown(table: Table) -> str:
    """The title and the rows of a table."""
    rows = [[_join(cell.main, cell.detail) for cell in row] for row in table.rows]
    return f"**{table.title}**\n\n{markdown_table(table.columns, rows)}"


def _join(main: str, detail: str) -> str:
    return f"{main} ({detail})" if detail else main


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\r", "").replace("\n", "<br>")
