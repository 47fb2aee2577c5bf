"""``python -m experiments train``: train a config, or resume its run in the workdir."""

import shlex
from pathlib import Path

from experiments.commands.help import print_help
from experiments.commands.overrides import first_path, parse_overrides, take_repeated
from experiments.config.file import load_config
from experiments.devices.distributed import FLAGS, joined, take_processes
from experiments.errors import UserError
from experiments.run import processes
from experiments.run.default_folder import default_workdir
from experiments.run.summary import render
from experiments.sinks.sinks import Sinks
from experiments.training.training_loop import train_run
from lstm_jax.did_you_mean import nearest


def train_command(words: list[str]) -> int:
    """``train CONFIG [--workdir DIR] [--sink NAME] [--any.field value ...]``, and processes."""
    path, rest = first_path(words, "train", "CONFIG", "a config file, such as configs/adding.yaml")
    with_help = any(word in ("-h", "--help") for word in rest)
    rest = [word for word in rest if word not in ("-h", "--help")]
    names, rest = take_repeated(rest, "sink")
    overrides = parse_overrides(rest, as_text=("workdir", "coordinator", "distributed"))
    folder = overrides.pop("workdir", str(default_workdir(path)))
    if not folder:
        raise UserError("--workdir needs a value")
    workdir = Path(folder)
    joining = take_processes(overrides)
    for name in overrides:
        if near := nearest(name, ["workdir", "sink", *FLAGS], cutoff=0.7):
            raise UserError(f"--{name}: unknown option; did you mean --{near}?")
    if with_help:
        print_help(load_config(path, overrides), path)
        return 0
    flags = [word for name, value in overrides.items() for word in (f"--{name}", f"{value}")]
    command = shlex.join(["python", "-m", "experiments", "train", str(path), *flags])
    with joined(joining):
        with processes.together():
            config = load_config(path, overrides)
        summary = train_run(config, workdir, command, Sinks.named(names))
        if processes.is_first():
            print("\n" + render(summary, workdir))
    return 0
