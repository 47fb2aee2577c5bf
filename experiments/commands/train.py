"""``python -m experiments train``: train a config, or resume its run in the workdir."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from experiments.commands.overrides import first_path, parse_overrides, take_repeated
from experiments.config.file import load_config
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.run.summary import render
from experiments.sinks.sinks import Sinks
from experiments.training.training_loop import train_run
from lstm_jax.did_you_mean import nearest


@dataclass(frozen=True)
class TrainArguments:
    """Train a config, or resume its run in the workdir."""

    workdir: Path
    """folder for the config, metrics, checkpoints and figures"""
    config: Annotated[Config, tyro.conf.arg(name="")]


def train_command(words: list[str]) -> int:
    """``train CONFIG [--workdir DIR] [--sink NAME] [--any.field value ...]``."""
    path, rest = first_path(words, "train", "CONFIG", "a config file, such as configs/adding.yaml")
    with_help = any(word in ("-h", "--help") for word in rest)
    rest = [word for word in rest if word not in ("-h", "--help")]
    names, rest = take_repeated(rest, "sink")
    overrides = parse_overrides(rest, as_text=("workdir",))
    folder = overrides.pop("workdir", f"runs/{path.stem}")
    if not folder:
        raise UserError("--workdir needs a value")
    workdir = Path(folder)
    for name in overrides:
        if meant := nearest(name, ["workdir", "sink"], cutoff=0.7):
            raise UserError(f"--{name}: unknown option; did you mean --{meant}?")
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
    summary = train_run(config, workdir, command, Sinks.named(names))
    print("\n" + render(summary, workdir))
    return 0
