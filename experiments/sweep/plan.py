"""What a sweep is going to train, and how long it may take."""

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config.file import differences
from experiments.config.schema import Config
from experiments.devices.mesh import Placement
from experiments.numbers import duration
from experiments.sweep.folder import SweepFolder
from experiments.sweep.groups import Group, make_groups, program_key
from experiments.sweep.points import expand
from experiments.sweep.run import check_groups
from experiments.sweep.spec import SweepSpec
from experiments.training.data import load_data
from experiments.training.keys import data_key
from experiments.training.lanes import Lanes
from experiments.training.memory import memory_errors
from experiments.training.train_step import make_train_functions

FEW_UPDATES = 3
MEASURE_SECONDS = 60.0
"""No further program is measured after this time; the others are estimated from their size."""


@dataclass(frozen=True)
class GroupPlan:
    """What one group trains.

    Attributes:
      number: its number in the folder; None if it is new.
      group: the points.
      parameters: parameters of one lane.
      sequences: training sequences of all lanes, if none stops early.
      operations: floating-point operations of its products, about: six for every parameter, step
        and sequence.
      seconds: the time that it may take.
      measured: whether the time was measured with this program, not estimated from others.
    """

    number: int | None
    group: Group
    parameters: int
    sequences: int
    operations: float
    seconds: float
    measured: bool

    @property
    def updates(self) -> int:
        """The maximum number of updates of every lane."""
        return self.group.config.train.updates


@dataclass(frozen=True)
class Plan:
    """What a sweep is going to train.

    Attributes:
      path: its folder.
      points: number of points.
      repeated: number of points that were given more than once.
      finished: number of points that are finished.
      groups: the groups that train.
    """

    path: Path
    points: int
    repeated: int
    finished: int
    groups: list[GroupPlan]


@dataclass(frozen=True)
class Timing:
    """Times of one program in seconds: of the compilation, one update, and one evaluation."""

    compilation: float
    update: float
    evaluation: float

    def total(self, config: Config) -> float:
        """The time of a whole training that does not stop early."""
        train = config.train
        evaluations = math.ceil(train.updates / train.eval_every) + 1
        return self.compilation + train.updates * self.update + evaluations * self.evaluation


def make_plan(
    spec: SweepSpec, path: Path, max_lanes: int, measure_seconds: float = MEASURE_SECONDS
) -> Plan:
    """Find out what a sweep is going to train, and time a few updates of its programs.

    Nothing is written.

    Args:
      spec: the sweep.
      path: its folder; what is finished there is not counted again.
      max_lanes: the maximum number of lanes of a group.
      measure_seconds: no further program is measured after this time.

    Raises:
      UserError: as `run_sweep` would raise before it starts.
    """
    points, repeated = expand(spec)
    folder = SweepFolder(path)
    points, new = folder.match(points)
    started = folder.groups()
    added = make_groups(new, max_lanes)
    check_groups(added)
    numbered: list[tuple[int | None, Group]] = [*started.items(), *((None, g) for g in added)]
    sizes = [_size(group) for _, group in numbered]
    times = _times([group for _, group in numbered], [size[1] for size in sizes], measure_seconds)
    waiting = {point.name for _, group in numbered for point in group.points}
    plans = [
        GroupPlan(
            number,
            group,
            parameters,
            len(group.lanes) * group.config.train.updates * group.config.train.sequences_per_update,
            operations,
            *timed,
        )
        for (number, group), (parameters, operations), timed in zip(
            numbered, sizes, times, strict=True
        )
    ]
    finished = len([point for point in points if point.name not in waiting])
    return Plan(path, len(points), repeated, finished, plans)


def describe_plan(plan: Plan) -> str:
    """A plan as text."""
    counts = [f"{plan.points} points"]
    if plan.repeated:
        counts.append(f"{plan.repeated} repeated ones left out")
    if plan.finished:
        counts.append(f"{plan.finished} finished in {plan.path}")
    lines = [", ".join(counts)]
    if not plan.groups:
        return "\n".join([*lines, "nothing is left to train"])
    first = plan.groups[0].group.config
    for i, each in enumerate(plan.groups):
        group, lanes = each.group, each.group.lanes
        started = " (begun)" if each.number is not None else ""
        lines += [
            "",
            f"group {i + 1}{started}: {len(group.points)} points, {len(lanes)} lanes under one"
            f" vmap, {each.parameters:,} parameters each",
            *_differing(lanes),
        ]
        others = [
            line for line in differences(first, group.config) if not _is_of_lanes(line, lanes)
        ]
        lines += [f"  beside group 1  {line.replace(', not ', ' -> ')}" for line in others]
        lines += [
            f"  at most         {each.updates:,} updates, {each.sequences:,} sequences in all,"
            f" {each.operations:.2g} operations",
            f"  time            {duration(each.seconds)}, {_how(each.measured)}",
        ]
    seconds = sum(each.seconds for each in plan.groups)
    lines += [
        "",
        f"at most {duration(seconds)} in all, on {_machine()}; without figures, and less where"
        " seeds stop early",
    ]
    return "\n".join(lines)


def measure(group: Group) -> Timing:
    """Compile the program of a group and time a few updates and an evaluation.

    Raises:
      TrainingFailed: if the memory does not suffice.
    """
    with memory_errors(group.config, "nothing was started"):
        placement = Placement.of(group.config)
        functions = make_train_functions(group.config, group.lanes, placement)
        data = placement.replicate(load_data(group.config, lanes=len(group.lanes)))
        active = placement.replicate(jnp.ones(len(group.lanes), bool))
        began = time.perf_counter()
        states = jax.block_until_ready(functions.init())
        states, _ = jax.block_until_ready(functions.train_steps(data, states, active, FEW_UPDATES))
        params = functions.evaluation_params(states)
        jax.block_until_ready(functions.evaluate(data, "validation", params))
        first = time.perf_counter() - began
        began = time.perf_counter()
        states, _ = jax.block_until_ready(functions.train_steps(data, states, active, FEW_UPDATES))
        updates = time.perf_counter() - began
        began = time.perf_counter()
        jax.block_until_ready(functions.evaluate(data, "validation", params))
        evaluation = time.perf_counter() - began
        return Timing(max(first - updates - evaluation, 0.0), updates / FEW_UPDATES, evaluation)


def _times(
    groups: list[Group], operations: list[float], measure_seconds: float
) -> list[tuple[float, bool]]:
    """The time of every group, and whether it was measured.

    Groups with equal programs and equal numbers of lanes are measured once.
    """
    began = time.perf_counter()
    measured: dict[tuple[str, int], float] = {}
    keys = [(program_key(group.config), len(group.lanes)) for group in groups]
    for i, (key, group) in enumerate(zip(keys, groups, strict=True)):
        if key in measured or (measured and time.perf_counter() - began > measure_seconds):
            continue
        print(f"measuring group {i + 1} of {len(groups)}", file=sys.stderr)
        measured[key] = measure(group).total(group.config)
    rates = [
        measured[key] / work
        for key, work in dict(zip(keys, operations, strict=True)).items()
        if key in measured
    ]
    rate = float(np.median(rates)) if rates else 0.0
    return [
        (measured[key], True) if key in measured else (work * rate, False)
        for key, work in zip(keys, operations, strict=True)
    ]


def _size(group: Group) -> tuple[int, float]:
    """The parameters of a lane, and the operations of the whole group."""
    config, lanes = group.config, group.lanes
    params = jax.eval_shape(make_train_functions(config, Lanes(lanes.seeds[:1])).init).params
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    batch = jax.eval_shape(
        lambda data: config.task.sample(
            data, "train", data_key("train", config.seed), config.train.batch_size
        ),
        config.task.load(),
    )
    steps = batch.inputs.shape[0] * batch.inputs.shape[1] * config.train.accumulate
    return parameters, 6.0 * parameters * steps * config.train.updates * len(lanes)


def _differing(lanes: Lanes) -> list[str]:
    """The fields that differ between the lanes, with their values."""
    rows = {"seed": [f"{seed}" for seed in dict.fromkeys(lanes.seeds)]}
    rows |= {
        name: [f"{value:g}" for value in sorted(set(values))]
        for name, values in lanes.values.items()
    }
    return [
        f"  lanes differ in {name}: {', '.join(values[:8])}{', ...' if values[8:] else ''}"
        for name, values in rows.items()
        if len(values) > 1
    ]


def _is_of_lanes(line: str, lanes: Lanes) -> bool:
    """Whether a difference between configs is one between lanes as well."""
    leaf = line.partition(":")[0].rpartition(".")[2]
    return leaf in ("seed", "seeds") or leaf in {name.rpartition(".")[2] for name in lanes.values}


def _how(measured: bool) -> str:
    if measured:
        return f"from the compilation, {FEW_UPDATES} updates and an evaluation, timed just now"
    return "estimated from the operations and the groups that were timed"


def _machine() -> str:
    device = jax.devices()[0]
    return f"{jax.device_count()} {device.platform} device{'s' * (jax.device_count() > 1)}"
