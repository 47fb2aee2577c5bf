"""What the commands do: thin, from arguments to the functions that do the work."""

import difflib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from experiments import run
from experiments.config import Config
from experiments.config_file import load_config, parse_overrides
from experiments.errors import UserError
from experiments.numbers import mean_and_spread
from experiments.summary import describe, render
from experiments.tasks import goals
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
    rest = [word for word in rest if word not in ("-h", "--help")]
    overrides = parse_overrides(rest, as_text=("workdir",))
    folder = overrides.pop("workdir", f"runs/{path.stem}")
    if not folder:
        raise UserError("--workdir needs a value")
    workdir = Path(folder)
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
    config = load_config(path / "config.yaml", overrides)
    updates, metrics = run.evaluate(workdir, config)
    print(f"{describe(config.task)}, {config.eval.sequences:,} test sequences,", end=" ")
    print(f"after {updates:,} updates\n")
    print(_table(metrics, config))
    return 0


def _leading(arguments: list[str], command: str, name: str, what: str) -> tuple[Path, list[str]]:
    """The path that a command starts with, and the rest."""
    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"{command}: {name} comes first: {what}")
    return Path(arguments[0]), arguments[1:]


def _table(metrics: dict[str, np.ndarray], config: Config) -> str:
    rows = {name: mean_and_spread(values) for name, values in metrics.items()}
    for name, goal in goals(config.task).items():
        rows[name] = f"{np.sum(goal.reached(metrics))} of {config.seeds} seeds ({goal})"
    width = max(map(len, rows))
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows.items())
