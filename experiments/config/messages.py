"""Messages about the fields of a config: one short line for each that is wrong."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from experiments.config.components import short, short_text, where
from lstm_jax.did_you_mean import did_you_mean, nearest

MOST_LINES = 20
LONGEST_NAME = 48
LONGEST_TEXT = 148


def error_lines(
    errors: Mapping[str, str], names: list[str], flags: Collection[str], source: str
) -> str:
    """One line for every field that is wrong.

    Args:
      errors: a message by dotted name.
      names: the dotted names of all fields, of which the nearest to an unknown one is named.
      flags: the dotted names that were set on the command line.
      source: where the others come from.

    >>> error_lines({"seed": "must be 0"}, [], ["seed"], "a.yaml")
    '--seed: must be 0'
    """
    lines = []
    for name, text in errors.items():
        hint = hint_for(name, names) if text == "unknown field" else ""
        shown = short_text(name, LONGEST_NAME)
        # A flag may set a mapping, or make one of a value, as --model.dropout.x does.
        if any(f"{name}.".startswith(f"{each}.") for each in flags):
            place = f"--{shown}"
        else:
            below = [each for each in flags if "." in name and each.startswith(f"{name}.")]
            place = f"--{short_text(below[0], LONGEST_NAME)}" if below else f"{source}: {shown}"
        lines.append(f"{place}: {short_text(f'{text}{hint}', LONGEST_TEXT)}")
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"and {len(lines) - MOST_LINES:,} fields more"]
    return "\n".join(lines)


def hint_for(name: str, names: list[str]) -> str:
    """The end of the message of an unknown field, with the nearest one.

    >>> hint_for("model.hiden_size", ["model.hidden_size", "train.updates"])
    '; did you mean model.hidden_size?'
    """
    near = nearest_field(name[:100], names)
    return f"; did you mean {near}?" if near else ""


def nearest_field(name: str, names: list[str]) -> str | None:
    """The field whose dotted name is nearest to a name, or None if none is near.

    The section of a field may be missing or wrong.

    >>> nearest_field("hidden_size", ["model.hidden_size", "train.updates"])
    'model.hidden_size'
    """
    section, _, tail = name.rpartition(".")
    tails = {each.rpartition(".")[2]: each for each in reversed(names)}
    if tail in tails and not tail.isdecimal():
        return tails[tail]
    if section in names:
        return section
    # The name of a section, which fields have in common, says nothing about the field.
    beside = [each.rpartition(".")[2] for each in names if each.rpartition(".")[0] == section]
    near = nearest(tail, beside)
    if near is not None:
        return f"{section}.{near}" if section else near
    return tails.get(nearest(tail, tails) or "")


def message(detail: Any) -> str:
    """An error of Pydantic in one line."""
    given = detail["input"]
    match detail["type"]:
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            return "missing"
        case "literal_error":
            expected = detail["ctx"]["expected"]
            hint = did_you_mean(str(given)[:50], re.findall(r"'(\w+)'", expected))
            return f"must be {expected}; got {short(given)}{hint}"
        case "dataclass_type" | "model_attributes_type" | "dict_type":
            return f"must be a mapping of fields; got {short(given)}"
        case "greater_than_equal" | "less_than_equal" | "greater_than" | "less_than" as kind:
            bound = detail["ctx"][_BOUNDS[kind][0]]
            return f"must be {_BOUNDS[kind][1]} {number(bound)}; got {short(given)}"
        case "value_error":
            return str(detail["ctx"]["error"]).splitlines()[0]
        case "too_long" | "too_short":
            return detail["msg"][0].lower() + detail["msg"][1:]
    expected = detail["msg"].removeprefix("Input should be ")
    return f"must be {expected}; got {short(given)}"


_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
    "greater_than": ("gt", "above"),
    "less_than": ("lt", "below"),
}


def number(value: float) -> str:
    """A number in a message.

    >>> number(131072), number(1e-30), number(0.999)
    ('131,072', '1e-30', '0.999')
    """
    return f"{value:,}" if isinstance(value, int) and value < 10**12 else f"{value:.6g}"


def own_error(error: Exception) -> str:
    """An error of the class of a component of one's own."""
    if isinstance(error, ValueError | TypeError):
        return short_text((str(error).splitlines() or [""])[0], 150)
    return where(error)
