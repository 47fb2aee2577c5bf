"""The progress of a run on the host, and its form in a checkpoint."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from experiments.run.read_file import NUMBER, form_error

TIMES = ("seconds", "compile_seconds", "device_seconds")
"""Fields that differ between two equal runs; a checkpoint keeps them apart."""


@dataclass
class TrainingProgress:
    """The progress of a run on the host, saved with every checkpoint.

    Attributes:
      update: updates done by the seeds that still train.
      seconds: training time, summed over all processes that trained the run.
      compile_seconds: the part of `seconds` spent in the first dispatch of each kind, which
        compiles.
      device_seconds: the part of the remaining time in which Python waited for the device.
      solved_at: for each seed, the update at which it was first solved, or None.
      mastered_at: the same for mastered.
      stopped_at: for each seed, the update at which it stopped early, or None.
      diverged: for each seed, None or what became infinite or NaN: ``update``, ``metric``,
        ``value`` as text, ``group`` of parameters.
    """

    update: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    device_seconds: float = 0.0
    solved_at: list[int | None] = field(default_factory=list)
    mastered_at: list[int | None] = field(default_factory=list)
    stopped_at: list[int | None] = field(default_factory=list)
    diverged: list[dict[str, Any] | None] = field(default_factory=list)

    @classmethod
    def at_start(cls, seeds: int) -> "TrainingProgress":
        """The progress before the first update.

        >>> TrainingProgress.at_start(seeds=2).stopped_at
        [None, None]
        """
        none = [None] * seeds
        return cls(solved_at=[*none], mastered_at=[*none], stopped_at=[*none], diverged=[*none])

    def to_json(self) -> dict[str, Any]:
        """The fields, with those of time apart in ``times``.

        >>> TrainingProgress(update=10, seconds=1.5).to_json()["times"]["seconds"]
        1.5
        """
        fields = dataclasses.asdict(self)
        times = {name: fields.pop(name) for name in TIMES}
        return fields | {"times": times}

    @classmethod
    def from_json(cls, value: Any) -> "TrainingProgress":
        """The inverse of `to_json`.

        Raises:
          ValueError: if the value has another form.
        """
        own = {f.name for f in dataclasses.fields(cls)} - set(TIMES)
        form = {name: [(int, None)] for name in own} | {
            "update": int, "diverged": [(dict, None)], "times": dict.fromkeys(TIMES, NUMBER),
        }  # fmt: skip
        if (reason := form_error(value, form)) is not None:
            raise ValueError(reason)
        if unknown := {*value, *value["times"]} - own - {"times", *TIMES}:
            raise ValueError(f"{min(unknown):.40} is unknown: written by another version?")
        if len({len(value[name]) for name in own - {"update"}}) != 1:
            raise ValueError("lists have different numbers of seeds")
        fields = dict(value)
        return cls(**fields.pop("times"), **fields)
