"""The forms of the JSON files of a run, which are checked when they are read."""

from experiments.run.read_file import NUMBER

_GOAL = {"goal": str, "reached_on_test": [bool], "first_at_update": [(int, None)]}

SUMMARY = {
    "command": str,
    "task": str,
    "seeds": [int],
    "updates": [int],
    "sequences": [int],
    "sequences_per_update": int,
    "metric": str,
    "baselines": {...: NUMBER},
    "test": {...: {"seeds": [(*NUMBER, None)]}},
    "goals": {"solved": _GOAL, ...: _GOAL},
    "seconds": NUMBER,
    "updates_per_second": NUMBER,
    "figures": [str],
}
"""summary.json; there may be further entries."""

ENVIRONMENT = {
    "python": str,
    "platform": str,
    "cpu": str,
    "cores": int,
    "device": str,
    "backend": str,
    "versions": {"jax": str, ...: (str, None)},
}
"""environment.json; there may be further entries."""
