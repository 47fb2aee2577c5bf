"""The commands train and evaluate: parse the command line, then call the function."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from experiments.config.file import load_config
from experiments.config.schema import Config
from experiments.config.yaml_file import parse_value
from experiments.errors import UserError
from experiments.numbers import mean_and_spread
from experiments.run.default_folder import default_workdir
from experiments.run.summary import describe_task, render
from experiments.run.workdir import Workdir
from experiments.tasks import goals
from experiments.training.evaluation import evaluate_run
from experiments.training.training_loop import train_run
from lstm_jax.did_you_mean import nearest


@dataclass(frozen=True)
class TrainArguments:
    """Train a config, or resume its run in the workdir."""

    workdir: Path
    """folder for the config, metrics, checkpoints and figures"""
    config: Annotated[Config, tyro.conf.arg(name="")]


def train_command(arguments: list[str]) -> int:
    """``train CONFIG [--workdir DIR] [--any.field value ...]``."""
    path, rest = _first_path(
        arguments, "train", "CONFIG", "a config file, such as configs/adding.yaml"
    )
    with_help = any(a in ("-h", "--help") for a in rest)
    rest = [word for word in rest if word not in ("-h", "--help")]
    overrides = parse_overrides(rest, as_text=("workdir",))
    folder = overrides.pop("workdir", str(default_workdir(path)))
    if not folder:
        raise UserError("--workdir needs a value")
    workdir = Path(folder)
    for name in overrides:
        if nearest(name, ["workdir"], cutoff=0.7):
            raise UserError(f"--{name}: unknown option; did you mean --workdir?")
    config = load_config(path, overrides)
    if with_help:
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
    summary = train_run(config, workdir, command)
    print("\n" + render(summary, workdir))
    return 0


def evaluate_command(arguments: list[str]) -> int:
    """``evaluate WORKDIR [--task.field value ...] [--eval.field value ...]``."""
    path, rest = _first_path(arguments, "evaluate", "WORKDIR", "the folder of a run")
    overrides = parse_overrides(rest)
    fixed = [n for n in overrides if not n.startswith(("task.", "eval.")) or n == "task.name"]
    if fixed:
        raise UserError(f"--{fixed[0]}: evaluate takes --task.* and --eval.* fields only")
    workdir = Workdir.existing(path)
    config = load_config(path / "config.yaml", overrides)
    updates, metrics = evaluate_run(workdir, config)
    print(f"{describe_task(config.task)}, {config.eval.sequences:,} test sequences,", end=" ")
    print(f"after {updates:,} updates\n")
    print(_table(metrics, config))
    return 0


def parse_overrides(arguments: Sequence[str], as_text: Sequence[str] = ()) -> dict[str, Any]:
    """Parse ``--any.field value`` and ``--any.field=value``, with values in YAML.

    Args:
      arguments: the words of the command line.
      as_text: names whose values are kept as text, such as paths.

    Returns:
      Values by dotted name.

    Raises:
      UserError: if a flag has no value, a value has no flag, or a value is not YAML.

    >>> parse_overrides(["--model.hidden_size", "64", "--optimizer.learning_rate=3e-4"])
    {'model.hidden_size': 64, 'optimizer.learning_rate': 0.0003}
    """
    overrides: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--") or flag == "--":
            raise UserError(f"unexpected argument {flag!r}; fields are set by --any.field value")
        name, equals, text = flag[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UserError(f"--{name} needs a value")
            text = rest.pop(0)
        name = name.replace("-", "_")
        overrides[name] = text if name in as_text else parse_value(name, text)
    return overrides


def _first_path(arguments: list[str], command: str, name: str, what: str) -> tuple[Path, list[str]]:
    """The path that is the first argument of a command, and the other arguments."""
    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"{command}: {name} comes first: {what}")
    return Path(arguments[0]), arguments[1:]


def _table(metrics: dict[str, np.ndarray], config: Config) -> str:
    rows = {name: mean_and_spread(values) for name, values in metrics.items()}
    for name, goal in goals(config.task).items():
        rows[name] = f"{np.sum(goal.reached(metrics))} of {config.seeds} seeds ({goal})"
    width = max(map(len, rows))
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows.items())
