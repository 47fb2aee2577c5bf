"""A result as tables: ratios first, then values and rates."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from experiments.bench.cases import Case
from experiments.bench.results import Entry, Result, bases_of, find
from experiments.numbers import three_digits

NOT_MEASURED = "not measured"
NOT_PLANNED = "–"


class Format(NamedTuple):
    """Title, unit and scale of values; several values are columns, a single one has all cases."""

    title: str
    unit: str
    scale: float
    values: tuple[str, ...] = ("seconds",)


class Column(NamedTuple):
    """A column of a table, and the measurement that it contains."""

    heading: str
    quantity: str
    case: str
    value: str


class Block(NamedTuple):
    """The columns of one table, with a common format."""

    format: Format
    columns: list[Column]


@dataclass(frozen=True)
class Table:
    """One table of text.

    Attributes:
      title: the title.
      headings: the headings of the columns, without that of the labels.
      rows: labels and cells.
    """

    title: str
    headings: list[str]
    rows: list[tuple[str, list[str]]]

    def halves(self, at: int) -> "tuple[Table, Table]":
        """Split the columns at an index into two tables."""
        left, right = (
            Table(self.title, self.headings[part], [(a, b[part]) for a, b in self.rows])
            for part in (slice(at), slice(at, None))
        )
        return left, right


PARTS = ("trace", "lower", "compile", "total")
QUANTITIES: dict[str, tuple[Format, ...]] = {
    "forward": (Format("Forward", "ms", 1e3),),
    "training": (Format("Training step", "ms", 1e3),),
    "step": (Format("One step", "µs", 1e6),),
    "memory": (
        Format("Growth of resident memory", "MiB", 1, ("growth",)),
        Format("Time of the gradient", "ms", 1e3),
        Format("Temporaries", "MiB", 1, ("temporaries",)),
    ),
    "compile_forward": (Format("Forward", "s", 1, PARTS),),
    "compile_training": (Format("Training step", "s", 1, PARTS),),
}


def blocks(result: Result) -> list[Block]:
    """The blocks of a result, in the order of its quantities.

    Args:
      result: the result, from `results.build` or `results.read`.
    """
    found = []
    for quantity in result["quantities"]:
        for format_ in QUANTITIES[quantity]:
            for group in dict.fromkeys(case["group"] for case in result["cases"]):
                cases = [case["name"] for case in result["cases"] if case["group"] == group]
                one = len(format_.values) == 1
                columns = [
                    Column(case if one else value, quantity, case, value)
                    for case in cases
                    for value in format_.values
                ]
                title = f"{format_.title} against {group}" if group else format_.title
                found.append(Block(format_._replace(title=title), columns))
    return found


def tables(result: Result, missing: str = NOT_MEASURED) -> list[Table]:
    """All tables of a result.

    Args:
      result: the result, from `results.build` or `results.read`.
      missing: the text of a cell that was planned but not measured.

    Returns:
      Ratios to the reference, of minima and of medians, then values, then rates if the result has
      a ceiling.
    """
    every = blocks(result)
    unit, scale = ("TF/s", 1e-3) if result["device"] == "gpu" else ("GF/s", 1.0)

    def ratio(entry: Entry, column: Column) -> str | None:
        found = entry["ratio"].get(column.value)
        return None if found is None else f"{found:.2f}"

    bases = bases_of([Case(**fields) for fields in result["cases"]])

    def ratio_of_medians(entry: Entry, column: Column) -> str | None:
        base = bases.get(column.case, column.case)
        other = find(result, result["reference"] or "", column.quantity, base)
        value = entry["median"].get(column.value)
        of_other = other and other["median"].get(column.value)
        return None if value is None or not of_other else f"{value / of_other:.2f}"

    def rate(entry: Entry, column: Column) -> str | None:
        del column
        found, share = entry.get("gflops"), entry.get("share_of_ceiling")
        return None if not found or not share else f"{three_digits(found * scale)} {share:.0%}"

    def value(format_: Format) -> Callable[[Entry, Column], str | None]:
        def text(entry: Entry, column: Column) -> str | None:
            found = entry["min"].get(column.value)
            return None if found is None else three_digits(found * format_.scale)

        return text

    found = [_table(f"{s.title}, ratio", c, ratio, result, missing) for s, c in every]
    found += [
        _table(f"{s.title}, ratio of medians", c, ratio_of_medians, result, missing)
        for s, c in every
        if s.unit != "MiB"
    ]
    found += [_table(f"{s.title}, {s.unit}", c, value(s), result, missing) for s, c in every]
    if result["ceiling_gflops"]:
        title = f"{unit} and share of the ceiling"
        found += [_table(f"{s.title}, {title}", c, rate, result, missing) for s, c in every]
    return found


def what_ratios_are(result: Result) -> str:
    """A sentence that explains the ratios.

    Args:
      result: the result, from `results.build` or `results.read`.
    """
    label = next(
        (c["label"] for c in result["implementations"] if c["name"] == result["reference"]), "none"
    )
    ours = label.partition(",")[0]
    if "memory" in result["quantities"]:
        return f"Ratios are to {label}, keeping everything: above 1, {ours} needs less."
    return f"Ratios are to {label}: above 1, {ours} is faster."


def ceiling_of(result: Result) -> str | None:
    """A sentence with the ceiling, or None if there is none.

    Args:
      result: the result, from `results.build` or `results.read`.
    """
    rates = [
        f"{three_digits(rate)} GF/s on {threads} thread{'s' if threads != '1' else ''}"
        if result["device"] == "cpu"
        else f"{three_digits(rate / 1e3)} TF/s"
        for threads, rate in result["ceiling_gflops"].items()
    ]
    return f"The ceiling, square matrix products in JAX: {', '.join(rates)}." if rates else None


def spread_of(result: Result) -> str | None:
    """A sentence on the difference of minima and medians, or None if nothing was timed.

    Args:
      result: the result, from `results.build` or `results.read`.
    """
    above = [
        entry["median"]["seconds"] / entry["min"]["seconds"] - 1
        for entry in result["measurements"]
        if "seconds" in entry["min"]
    ]
    if not above:
        return None
    mean = sum(above) / len(above)
    rounds = f"{result['rounds']} rounds" if result["rounds"] > 1 else "one round"
    return (
        f"Times are minima over {rounds}; the medians are {mean:.0%} above them on"
        f" average, {max(above):.0%} at most."
    )


def backends_of(result: Result, implementation: str) -> str:
    """The backends that an implementation selected, as the end of a sentence, or nothing.

    Args:
      result: the result, from `results.build` or `results.read`.
      implementation: the name of the implementation.

    >>> entries = [{"implementation": "default", "case": "small", "taken": "cpu (avx2)"}]
    >>> backends_of({"measurements": entries}, "default")
    '; backend: cpu (avx2)'
    """
    found: dict[str, dict[str, None]] = {}
    for entry in result["measurements"]:
        # Older result files have no backend.
        if entry["implementation"] == implementation and entry.get("taken"):
            found.setdefault(entry["taken"], {})[entry["case"]] = None
    if len(found) < 2:
        return "".join(f"; backend: {backend}" for backend in found)
    return "; backends: " + ", ".join(
        f"{backend} for {' and '.join(cases)}" for backend, cases in found.items()
    )


def not_measured(result: Result) -> list[str]:
    """A line for every measurement that is missing or incomplete, with the reason.

    Args:
      result: the result, from `results.build` or `results.read`.
    """
    labels = {c["name"]: c["label"] for c in result["implementations"]}
    return [
        f"{labels.get(t['implementation'], t['implementation'])}"
        + (f" ({', '.join(t['where'])})" if t["where"] else "")
        + f": {t['kind']}: {t['reason']}"
        for t in result["troubles"]
    ]


def _table(
    title: str,
    columns: list[Column],
    text: Callable[[Entry, Column], str | None],
    result: Result,
    missing: str,
) -> Table:
    def cell(name: str, column: Column) -> str:
        entry = find(result, name, column.quantity, column.case)
        if entry is None:
            return NOT_PLANNED
        # A measurement without this value does not have it by design.
        return text(entry, column) or (NOT_PLANNED if entry["min"] else missing)

    rows = [
        (c["label"], [cell(c["name"], column) for column in columns])
        for c in result["implementations"]
    ]
    # Leave out rows in which nothing was planned.
    rows = [row for row in rows if set(row[1]) != {NOT_PLANNED}]
    return Table(title, [column.heading for column in columns], rows)
