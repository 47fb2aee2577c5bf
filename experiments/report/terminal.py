"""A report for the terminal: tables that fit its width."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from experiments.report.tables import Cell, Table


def print_table(console: Console, table: Table) -> None:
    """Print a table on one line a row if it fits, else on two, else every row as a list.

    Args:
      console: the console, with its width.
      table: the table.
    """
    console.print(Text(table.title, style="bold"))
    unlimited = console.options.update(max_width=10_000)
    for separator in (" ", "\n"):
        rows = _as_rows(table, separator)
        if Measurement.get(console, unlimited, rows).maximum <= console.width:
            console.print(rows)
            return
    console.print(_as_lists(table))


def _as_rows(table: Table, separator: str) -> RichTable:
    rows = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    for column in table.columns:
        rows.add_column(Text(column))
    for row in table.rows:
        rows.add_row(*(_text(cell, separator) for cell in row))
    return rows


def _as_lists(table: Table) -> RichTable:
    lists = RichTable.grid(padding=(0, 2, 0, 0))
    lists.add_column()
    lists.add_column(ratio=1)
    for first, *others in table.rows:
        lists.add_row(Text(table.columns[0]), Text(first.main, style="bold"))
        for column, cell in zip(table.columns[1:], others, strict=True):
            lists.add_row(Text(f"  {column}"), _text(cell, " "))
    return lists


def _text(cell: Cell, separator: str) -> Text:
    if not cell.detail:
        return Text(cell.main)
    # In one line the detail is in brackets, so that it is not read as part of the value.
    detail = f"({cell.detail})" if separator == " " else cell.detail
    return Text.assemble(cell.main, separator, (detail, "dim"))


def print_notes(console: Console, lines: Sequence[str]) -> None:
    """Print sentences, wrapped at words."""
    for line in lines:
        console.print(Text(line))
