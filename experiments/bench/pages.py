"""A result as text for the terminal, and as a Markdown page."""

import textwrap
from typing import Any

from experiments.bench.cases import Case
from experiments.bench.results import Result
from experiments.bench.tables import (
    NOT_PLANNED,
    Table,
    backends_of,
    ceiling_of,
    not_measured,
    spread_of,
    tables,
    what_ratios_are,
)

WIDTH = 100


def for_terminal(result: Result) -> str:
    """A result as text in 100 columns, with the reasons for missing measurements at the end.

    Args:
      result: the result, from `results.build` or `results.read`.
    """
    lines = [f"{result['title']}. {what_ratios_are(result)}"]
    for table in tables(result, missing=NOT_PLANNED):
        rows = [row for row in table.rows if set(row[1]) != {NOT_PLANNED}]
        if rows:
            lines += ["", *_aligned(Table(table.title, table.headings, rows))]
    lines.append("")
    for sentence in (ceiling_of(result), spread_of(result), *not_measured(result)):
        lines += textwrap.wrap(sentence, WIDTH, subsequent_indent="    ") if sentence else []
    return "\n".join(lines)


def page(result: Result, picture: str | None) -> str:
    """The Markdown page of a result.

    Args:
      result: the result, from `results.build` or `results.read`.
      picture: the link to its picture, or None.
    """
    parts = [f"# {result['title']}", result["about"]]
    if picture:
        parts.append(f"![{result['title']}, beside other libraries]({picture})")
    parts.append(" ".join(filter(None, [what_ratios_are(result), spread_of(result)])))
    for table in tables(result):
        parts += [f"## {table.title}", _markdown(table)]
    parts += ["## Method", *_method(result)]
    return "\n\n".join(parts) + "\n"


def _method(result: Result) -> list[str]:
    machine, ceiling = result["machine"], ceiling_of(result)
    about = f"{machine['cores']} cores of {machine['cpu']}"
    sets = ", ".join(machine["instruction_sets"])
    facts = [
        f"- Machine: {machine['gpu']}, {about}" if machine.get("gpu") else f"- Machine: {about}"
    ]
    facts[0] += f" ({sets}), {machine['platform']}." if sets else f", {machine['platform']}."
    facts.append(
        f"- Versions: lstm_jax {result['lstm_jax']}, "
        + ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        + "."
    )
    facts.append(f"- Date: {result['date'][:10]}. Command: `{result['command']}`.")
    if result["git_commit"]:
        changed = ", with changes" if result["git_dirty"] else ""
        facts.append(f"- Commit: `{result['git_commit'][:12]}`{changed}.")
    for name, value in result["variables"].items():
        facts.append(f"- `{name}={value}`.")
    facts += [f"- {ceiling}"] if ceiling else []
    parts = ["\n".join(facts)]
    parts.append(
        "Every implementation runs in its own process. The processes take turns in every round, and"
        " only one measures at a time. "
        + (
            "Every round compiles again."
            if all(quantity.startswith("compile_") for quantity in result["quantities"])
            else "A call is repeated for half a second, and at least three times."
        )
        + " Cases, with batch B, time steps T, inputs I and units H:"
    )
    cases = [Case(**fields) for fields in result["cases"]]
    parts.append("\n".join(f"- {case.name}: {case.sizes()}" for case in cases))
    parts.append("Implementations:")
    parts.append(
        "\n".join(
            f"- {c['label']}: {c['how']}{backends_of(result, c['name'])}"
            for c in result["implementations"]
        )
    )
    missing = not_measured(result)
    if missing:
        parts += ["Not measured:", "\n".join(f"- {line}" for line in missing)]
    return parts


def _markdown(table: Table) -> str:
    head: list[list[str]] = [["", *table.headings], ["---", *["---:"] * len(table.headings)]]
    rows = [[label, *cells] for label, cells in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *rows])


def _aligned(table: Table) -> list[str]:
    rows: list[tuple[Any, ...]] = [("", *table.headings), *((a, *b) for a, b in table.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    half = len(table.headings) // 2
    if half and sum(widths) + 2 * len(widths) > WIDTH:
        return [line for part in table.halves(half) for line in _aligned(part)]
    lines = [table.title]
    for label, *cells in rows:
        right = [f"  {cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append(f"  {label:<{widths[0]}}{''.join(right)}".rstrip())
    return lines
