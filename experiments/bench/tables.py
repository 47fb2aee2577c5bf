"""A result as tables: ratios first, then what they are ratios of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from experiments.bench.cases import Case
from experiments.bench.results import Entry, Result, bases_of, find
from experiments.numbers import three_digits

NOT_MEASURED = "not measured"
NOT_PLANNED = "–"


class Shown(NamedTuple):
    """How values are shown; several of them stand side by side, one alone stands for every case."""

    title: str
    unit: str
    scale: float
    values: tuple[str, ...] = ("seconds",)


class Column(NamedTuple):
    """Where a column of a table comes from."""

    heading: str
    quantity: str
    case: str
    value: str


class Block(NamedTuple):
    """What stands together in one table."""

    shown: Shown
    columns: list[Column]


@dataclass(frozen=True)
class Table:
    """One table, made of text.

    Attributes:
      title: what it shows.
      headings: of its columns, that of the labels left out.
      rows: labels and cells.
    """

    title: str
    headings: list[str]
    rows: list[tuple[str, list[str]]]

    def halves(self, at: int) -> "tuple[Table, Table]":
        """Two tables of the columns before `at`, and from there on."""
        left, right = (
            Table(self.title, self.headings[part], [(a, b[part]) for a, b in self.rows])
            for part in (slice(at), slice(at, None))
        )
        return left, right


PARTS = ("trace", "lower", "compile", "total")
QUANTITIES: dict[str, tuple[Shown, ...]] = {
    "forward": (Shown("Forward", "ms", 1e3),),
    "training": (Shown("Training step", "ms", 1e3),),
    "step": (Shown("One step", "µs", 1e6),),
    "memory": (
        Shown("Growth of resident memory", "MiB", 1, ("growth",)),
        Shown("Time of the gradient", "ms", 1e3),
        Shown("Temporaries", "MiB", 1, ("temporaries",)),
    ),
    "compile_forward": (Shown("Forward", "s", 1, PARTS),),
    "compile_training": (Shown("Training step", "s", 1, PARTS),),
}


def blocks(result: Result) -> list[Block]:
    """What is shown of a result, in the order of its quantities.

    Args:
      result: what `results.build` returns.
    """
    found = []
    for quantity in result["quantities"]:
        for shown in QUANTITIES[quantity]:
            for group in dict.fromkeys(case["group"] for case in result["cases"]):
                cases = [case["name"] for case in result["cases"] if case["group"] == group]
                one = len(shown.values) == 1
                columns = [
                    Column(case if one else value, quantity, case, value)
                    for case in cases
                    for value in shown.values
                ]
                title = f"{shown.title} against {group}" if group else shown.title
                found.append(Block(shown._replace(title=title), columns))
    return found


def tables(result: Result, missing: str = NOT_MEASURED) -> list[Table]:
    """All tables of a result.

    Args:
      result: what `results.build` returns.
      missing: what stands where something was planned and not measured.

    Returns:
      Ratios to the reference, of minima and of medians, then values, then rates where there is a
      ceiling to compare with.
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

    def value(shown: Shown) -> Callable[[Entry, Column], str | None]:
        def text(entry: Entry, column: Column) -> str | None:
            found = entry["min"].get(column.value)
            return None if found is None else three_digits(found * shown.scale)

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
    """A sentence on how to read them.

    Args:
      result: what `results.build` returns.
    """
    label = next(
        (c["label"] for c in result["implementations"] if c["name"] == result["reference"]), "none"
    )
    ours = label.partition(",")[0]
    if "memory" in result["quantities"]:
        return f"Ratios are to {label}, keeping everything: above 1, {ours} needs less."
    return f"Ratios are to {label}: above 1, {ours} is faster."


def ceiling_of(result: Result) -> str | None:
    """A sentence on the ceiling, where there is one.

    Args:
      result: what `results.build` returns.
    """
    rates = [
        f"{three_digits(rate)} GF/s on {threads} thread{'s' if threads != '1' else ''}"
        if result["device"] == "cpu"
        else f"{three_digits(rate / 1e3)} TF/s"
        for threads, rate in result["ceiling_gflops"].items()
    ]
    return f"The ceiling, square matrix products in JAX: {', '.join(rates)}." if rates else None


def spread_of(result: Result) -> str | None:
    """A sentence on how far apart minima and medians are, where anything was timed.

    Args:
      result: what `results.build` returns.
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


def taken_by(result: Result, implementation: str) -> str:
    """What an implementation that chooses has taken, as the end of a sentence, or nothing.

    Args:
      result: what `results.build` returns.
      implementation: the implementation's name.

    >>> entries = [{"implementation": "default", "case": "small", "taken": "cpu (avx2)"}]
    >>> taken_by({"measurements": entries}, "default")
    '; took cpu (avx2)'
    """
    found: dict[str, dict[str, None]] = {}
    for entry in result["measurements"]:
        # Files from before this was noted have none.
        if entry["implementation"] == implementation and entry.get("taken"):
            found.setdefault(entry["taken"], {})[entry["case"]] = None
    if len(found) < 2:
        return "".join(f"; took {taken}" for taken in found)
    return "; took " + ", ".join(f"{taken} on {' and '.join(on)}" for taken, on in found.items())


def troubles_of(result: Result) -> list[str]:
    """A line for everything that was not measured, or not to the end.

    Args:
      result: what `results.build` returns.
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
        # What was measured without this value has no such value.
        return text(entry, column) or (NOT_PLANNED if entry["min"] else missing)

    rows = [
        (c["label"], [cell(c["name"], column) for column in columns])
        for c in result["implementations"]
    ]
    # A row in which nothing was ever to be measured says nothing.
    rows = [row for row in rows if set(row[1]) != {NOT_PLANNED}]
    return Table(title, [column.heading for column in columns], rows)
