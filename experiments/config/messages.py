"""Messages about the fields of a config: one short line for each that is wrong."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.config.components import short, short_text, where
from lstm_jax.did_you_mean import did_you_mean, nearest

MOST_LINES = 20
LONGEST_NAME = 48
LONGEST_TEXT = 148


def error_lines(
    errors: Mapping[str, str], names: list[str], flags: Iterable[str], source: str
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
        place = f"--{shown}" if name in flags else f"{source}: {shown}"
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
    tail = name.rsplit(".", 1)[-1]
    tails = {each.rsplit(".", 1)[-1]: each for each in reversed(names)}
    if tail in tails and not tail.isdecimal():
        return tails[tail]
    return nearest(name, names) or tails.get(nearest(tail, tails) or "")


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
        case "value_error":
            return str(detail["ctx"]["error"]).splitlines()[0]
        case "too_long" | "too_short":
            return detail["msg"][0].lower() + detail["msg"][1:]
    expected = detail["msg"].removeprefix("Input should be ")
    return f"must be {expected}; got {short(given)}"


def own_error(error: Exception) -> str:
    """An error of the class of a component of one's own."""
    if isinstance(error, ValueError | TypeError):
        return short_text((str(error).splitlines() or [""])[0], 150)
    return where(error)
