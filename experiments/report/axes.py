"""Which fields of the config a result can be drawn against, and the lines of such a figure."""

from typing import NamedTuple

from experiments.report.arms import Arm, Section, short_names, show_value

MOST_LINES = 12


class FieldAxis(NamedTuple):
    """A number of the config, and arms that differ in it, as the points of lines.

    Attributes:
      field: its dotted name.
      lines: for each line its label, which is empty if there is one line, and its arms by value.
    """

    field: str
    lines: list[tuple[str, list[Arm]]]


def field_axes(section: Section) -> list[FieldAxis]:
    """The fields that a result can be drawn against.

    Arms that are equal in all other fields are one line. Another number that changes with the field
    from arm to arm, such as a time scale that is set to the length, does not make another line.

    Args:
      section: the arms of one task.

    Returns:
      Fields with numbers, at least one line of two arms, and not more than `MOST_LINES` lines.
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
        if len(lines) <= MOST_LINES and any(len(line) > 1 for line in lines.values()):
            found.append(FieldAxis(field, list(lines.items())))
    return found


def _follows(name: str, field: str, arms: list[Arm]) -> bool:
    """Whether a number is given by the value of another field, in all arms."""
    pairs = {(arm.values[field], str(arm.values[name])) for arm in arms}
    numbers = all(_is_number(arm.values[name]) for arm in arms)
    return numbers and len(pairs) == len({value for value, _ in pairs})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
