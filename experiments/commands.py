"""What the commands do: thin, from arguments to the functions that do the work."""

import difflib
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from experiments import run
from experiments.config import Config
from experiments.config_file import load_config, parse_overrides
from experiments.errors import UserError
from experiments.summary import describe, render
from experiments.train import make_training
from experiments.workdir import Workdir


@dataclass(frozen=True)
class TrainArguments:
    """Train what a config file describes; with the workdir of an earlier run, go on with it."""

    workdir: Path
    """folder for the config, metrics, checkpoints and figures"""
    config: Annotated[Config, tyro.conf.arg(name="")]


def train(arguments: list[str]) -> int:
    """``train CONFIG [--workdir DIR] [--any.field value ...]``."""
    path, rest = _leading(
        arguments, "train", "CONFIG", "a config file, such as configs/adding.yaml"
    )
    wants_help = any(a in ("-h", "--help") for a in rest)
    overrides = parse_overrides([a for a in rest if a not in ("-h", "--help")])
    workdir = Path(str(overrides.pop("workdir", Path("runs") / path.stem)))
    for name in overrides:
        if difflib.get_close_matches(name, ["workdir"], cutoff=0.7):
            raise UserError(f"--{name}: unknown option; did you mean --workdir?")
    config = load_config(path, overrides)
    if wants_help:
        tyro.cli(
            TrainArguments,
            prog=f"python -m experiments train {path}",
            default=TrainArguments(workdir, config),
            args=["--help"],
            config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
            use_underscores=True,
        )
    flags = [word for name, value in overrides.items() for word in (f"--{name}", f"{value}")]
    command = shlex.join(["python", "-m", "experiments", "train", str(path), *flags])
    summary = run.train(config, workdir, command)
    print("\n" + render(summary, workdir))
    return 0


def evaluate(arguments: list[str]) -> int:
    """``evaluate WORKDIR [--task.field value ...] [--eval.field value ...]``."""
    path, rest = _leading(arguments, "evaluate", "WORKDIR", "the folder of a run")
    overrides = parse_overrides(rest)
    fixed = [n for n in overrides if not n.startswith(("task.", "eval.")) or n == "task.name"]
    if fixed:
        raise UserError(f"--{fixed[0]}: evaluate takes --task.* and --eval.* fields only")
    workdir = Workdir.existing(path)
    trained = workdir.config()
    config = load_config(path / "config.yaml", overrides)
    # The checkpoint belongs to the training it came from; only the data may differ.
    states = jax.eval_shape(make_training(trained).init)
    try:
        restored = workdir.checkpoints.restore(states)
    finally:
        workdir.checkpoints.close()
    if restored is None:
        raise UserError(f"{path}: holds no checkpoint yet")
    states, progress = restored
    training = make_training(replace(config, seeds=trained.seeds))
    metrics = training.evaluate(run.load_data(config), "test", states.params)
    print(f"{describe(config.task)}, {config.eval.sequences:,} test sequences,", end=" ")
    print(f"after {progress.update:,} updates\n")
    print(_table({name: np.asarray(value) for name, value in metrics.items()}, config))
    return 0


def _leading(arguments: list[str], command: str, name: str, what: str) -> tuple[Path, list[str]]:
    """The path that a command starts with, and the rest."""
    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"{command}: {name} comes first: {what}")
    return Path(arguments[0]), arguments[1:]


def _table(metrics: dict[str, np.ndarray], config: Config) -> str:
    width = max(map(len, metrics))
    lines = []
    for name, values in metrics.items():
        spread = f" ± {values.std(ddof=1):.2g}" if len(values) > 1 else ""
        lines.append(f"  {name:<{width}}  {values.mean():.4g}{spread}")
    for name, goal in _goals(config).items():
        reached = int(np.sum(goal.reached(metrics)))
        lines.append(f"  {name:<{width}}  {reached} of {config.seeds} seeds ({goal})")
    return "\n".join(lines)


def _goals(config: Config) -> dict[str, Any]:
    goals = {"solved": config.task.solved, "mastered": config.task.mastered}
    return {name: goal for name, goal in goals.items() if goal is not None}
