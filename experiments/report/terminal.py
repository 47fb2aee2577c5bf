"""A report for the terminal: tables that fit its width."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from experiments.report.tables import Cell, Table
from experiments.text import wrap_at_commas

# The width at which the names of rows are wrapped, if a table is too wide otherwise.
NARROW = 24


def print_table(console: Console, table: Table) -> None:
    """Print a table with a line a row if it fits, else with more lines, else every row as a list.

    Args:
      console: the console, with its width.
      table: the table.
    """
    console.print(Text(table.title, style="bold"))
    unlimited = console.options.update(max_width=10_000)
    for separator, first_column in ((" ", None), ("\n", None), ("\n", NARROW)):
        rows = _as_rows(table, separator, first_column)
        if Measurement.get(console, unlimited, rows).maximum <= console.width:
            console.print(rows)
            return
    for first, *others in table.rows:
        console.print(Text(first.main))
        console.print(Padding(_as_list(table.columns[1:], others), (0, 0, 0, 3)))


def _as_rows(table: Table, separator: str, first_column: int | None) -> RichTable:
    """A row of columns for every row, the first column wrapped at a width if there is one."""
    rows = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    for column in table.columns:
        rows.add_column(Text(column))
    for first, *others in table.rows:
        name = first.main
        if first_column is not None:
            name = wrap_at_commas(name, first_column, indent="   ")
        rows.add_row(Text(name), *(_text(cell, separator) for cell in others))
    return rows


def _as_list(columns: Sequence[str], cells: Sequence[Cell]) -> RichTable:
    found = RichTable.grid(padding=(0, 2, 0, 0))
    for column, cell in zip(columns, cells, strict=True):
        found.add_row(Text(column), _text(cell, " "))
    return found


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
