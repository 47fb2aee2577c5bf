"""Which fields of the config a result can be drawn against, and the lines of such a figure."""

import itertools
from typing import NamedTuple

from experiments.report.arms import Arm, Section, short_names, show_value

MOST_LINES = 12
MOST_POINTS = 12


class FieldAxis(NamedTuple):
    """A number of the config, and arms that differ in it, as the points of lines.

    Attributes:
      field: its dotted name.
      lines: for each line its label, which is empty if there is one line, and its arms by value.
      connected: whether the points of a line belong together; if not, they are a cloud.
    """

    field: str
    lines: list[tuple[str, list[Arm]]]
    connected: bool


def field_axes(section: Section) -> list[FieldAxis]:
    """The fields that a result can be drawn against.

    Arms that are equal in all other fields are one line. Another number that rises or falls with
    the field, such as a time scale that is set to the length, does not make another line. Where
    there would be too many lines or points, as in a random search, all arms are one cloud.

    Args:
      section: the arms of one task.

    Returns:
      Fields with numbers, and at least one line of two arms or a cloud.
    """
    found = []
    for field in section.fields:
        arms = [arm for arm in section.arms if _is_number(arm.values[field])]
        others = [name for name in section.fields if name != field]
        along = [name for name in others if _follows(name, field, arms)]
        apart = [name for name in others if name not in along]
        short = short_names(apart)
        lines: dict[str, list[Arm]] = {}
        for arm in sorted(arms, key=lambda arm: arm.values[field]):
            label = ", ".join(f"{short[name]} {show_value(arm.values[name])}" for name in apart)
            lines.setdefault(label, []).append(arm)
        single = all(len(line) == 1 for line in lines.values())
        if len(arms) < 2 or (single and len(lines) <= MOST_LINES):
            continue
        if len(lines) > MOST_LINES:
            lines = {"": [arm for line in lines.values() for arm in line]}
            connected = False
        else:
            connected = all(len(line) <= MOST_POINTS for line in lines.values())
        found.append(FieldAxis(field, list(lines.items()), connected))
    return found


def _follows(name: str, field: str, arms: list[Arm]) -> bool:
    """Whether a number is given by another one, and only rises or only falls with it."""
    if not all(_is_number(arm.values[name]) for arm in arms):
        return False
    pairs = sorted({(arm.values[field], arm.values[name]) for arm in arms})
    steps = [b[1] - a[1] for a, b in itertools.pairwise(pairs)]
    monotone = all(step >= 0 for step in steps) or all(step <= 0 for step in steps)
    return monotone and len(pairs) == len({value for value, _ in pairs})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
