"""What the results page has by hand: the goal of every row, and published figures.

``goals.yaml`` has an entry for every row, by the name of its folder; ``published.yaml`` has the
figures of others. Both stand beside the folders of the runs.
"""

import json
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT
from experiments.config.yaml_file import read_yaml
from experiments.errors import UserError
from experiments.results.paper import NAMES, paper_results
from lstm_jax.did_you_mean import did_you_mean

GOALS_FILE, PUBLISHED_FILE = "goals.yaml", "published.yaml"
Count = Annotated[int, Field(ge=1)]
Checked = TypeVar("Checked")


@dataclass(frozen=True, config=STRICT)
class LengthGoal:
    """A bound of a test metric at another length than that of the training."""

    length: Count
    """the length"""
    metric: str
    """the metric"""
    below: float
    """what the median over the seeds has to be below"""


@dataclass(frozen=True, config=STRICT)
class RowGoal:
    """The goal of a row; what is none is not asked for."""

    solved: Count | None = None
    """seeds that have to be solved, of `seeds`"""
    seeds: Count | None = None
    """seeds to train"""
    updates: Count | None = None
    """updates within which they have to be solved"""
    sequences: Count | None = None
    """training sequences within which they have to be solved"""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """time of the training of all seeds together"""
    stays: bool = False
    """whether a seed that was solved has to be so at the end, on test sequences"""
    at: tuple[LengthGoal, ...] = ()
    """bounds at other lengths"""
    times_paper: Annotated[float, Field(gt=0)] | None = None
    """for a row of 1997: the paper's share of successes, in at most so many times its sequences"""


@dataclass(frozen=True, config=STRICT)
class Declared:
    """What is said of a row by hand."""

    goal: RowGoal | None = None
    """the goal, or none for a row that others are compared with"""
    arm: str | None = None
    """the name of the arm; none for one from the config"""
    why: str | None = None
    """for a row that missed its goal: what was tried, and why it fails"""
    paper: str | None = None
    """experiment and setting of 1997 that the row repeats, as in `experiments.results.paper`"""
    task: str | None = None
    """the task of a row without a run"""
    setting: str | None = None
    """the setting of a row without a run, such as "length 100,000\""""


@dataclass(frozen=True, config=STRICT)
class Point:
    """A published result at one length."""

    length: Count
    """the length"""
    updates: Count
    """updates until the criterion was reached"""


@dataclass(frozen=True, config=STRICT)
class Published:
    """Updates to solve a task at several lengths, as others publish them."""

    name: str
    """name of the model"""
    source: str
    """authors and year, and where the figures stand"""
    criterion: str
    """when they call the task solved"""
    batch_size: Count
    """sequences of an update"""
    points: Annotated[tuple[Point, ...], Field(min_length=1)]
    """the results"""


def read_declared(folder: Path) -> dict[str, Declared]:
    """What is declared of the rows in a folder, by their names; empty without a file.

    Raises:
      UserError: if the file is damaged, or has an unknown field.
    """
    path = folder / GOALS_FILE
    found = _read(path, dict[str, Declared])
    for name, said in found.items():
        if said.paper is not None and not paper_results(said.paper):
            hint = did_you_mean(said.paper, NAMES, cutoff=0.5)
            raise UserError(f"{path}: {name}.paper: there is no result {said.paper}{hint}")
        if said.goal is not None and (problem := _problem(said.goal, said.paper)):
            raise UserError(f"{path}: {name}.goal.{problem}")
    return found


def read_published(folder: Path) -> dict[str, list[Published]]:
    """Published figures by task; empty without a file.

    Raises:
      UserError: if the file is damaged, or has an unknown field.
    """
    return _read(folder / PUBLISHED_FILE, dict[str, list[Published]])


def _problem(goal: RowGoal, paper: str | None) -> str:
    """What is wrong with a goal that no single field tells; empty if nothing is."""
    if goal.times_paper is not None and paper is None:
        return "times_paper: needs paper, the result to repeat"
    given = [name for name in ("solved", "updates", "sequences", "stays") if getattr(goal, name)]
    if given and goal.seeds is None:
        return f"{given[0]}: needs seeds, the number to train"
    if goal.solved is not None and goal.seeds is not None and goal.solved > goal.seeds:
        return f"solved: must be at most seeds ({goal.seeds}); got {goal.solved}"
    return ""


def _read(path: Path, kind: type[Checked]) -> Checked:
    content = read_yaml(path) if path.exists() else {}
    try:
        # As JSON, mappings and lists are taken for dataclasses and tuples.
        return TypeAdapter(kind).validate_json(json.dumps(content))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        field = ".".join(map(str, detail["loc"]))
        raise UserError(f"{path}: {field}: {detail['msg'][:100]}") from None
