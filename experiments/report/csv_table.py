"""A report as CSV: one row for every seed of every arm."""

import csv
import io
import math
from collections.abc import Sequence

from experiments.report.arms import Section, show_value

FIXED = ["task", "arm", "run", "seed", "finished", "updates", "diverged_at"]


def as_csv(sections: Sequence[Section]) -> str:
    """The results of all seeds as CSV; what a seed does not have is empty.

    Args:
      sections: the sections of a report; columns of all of them are in one table.

    Returns:
      The columns `FIXED`, then for every goal ``GOAL_at`` and ``GOAL_on_test``, for every metric
      ``test.METRIC``, and the config fields in which arms or the runs of an arm differ.
    """
    goals = _union(seed.reached_at for s in sections for seed in s.seeds)
    metrics = _union(seed.test for s in sections for seed in s.seeds)
    fields = _union([*s.fields, *s.pooled] for s in sections)
    columns = [
        *FIXED,
        *(f"{goal}{end}" for goal in goals for end in ("_at", "_on_test")),
        *(f"test.{metric}" for metric in metrics),
        *fields,
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for section in sections for row in _rows(section))
    return text.getvalue()


def _rows(section: Section) -> list[dict[str, str]]:
    rows = []
    for arm in section.arms:
        configs = {run.path: run.values for run in arm.runs}
        for seed in arm.seeds:
            values = configs[seed.run]
            row: dict[str, object] = {
                "task": section.task.name,
                "arm": arm.name,
                "run": seed.run,
                "seed": seed.seed,
                "finished": seed.finished,
                "updates": seed.updates,
                "diverged_at": seed.diverged_at,
            }
            row |= {f"{goal}_at": at for goal, at in seed.reached_at.items()}
            row |= {f"{goal}_on_test": reached for goal, reached in seed.reached_on_test.items()}
            row |= {f"test.{name}": value for name, value in seed.test.items()}
            found = {name: _text(value) for name, value in row.items()}
            fields = [name for name in [*section.fields, *section.pooled] if name in values]
            rows.append(found | {name: show_value(values[name], longest=None) for name in fields})
    return rows


def _text(value: object) -> str:
    """A value as text: nothing for none and for nan, all digits of a number."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float() if math.isnan(value):
            return ""
    return str(value)


def _union(names: object) -> list[str]:
    return list(dict.fromkeys(name for some in names for name in some))  # type: ignore[attr-defined]
