"""The help page of every command."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console

from experiments.commands.layout import print_pairs, print_text, print_title, standard_output


class CommandHelp(NamedTuple):
    """The help page of a command.

    Attributes:
      usage: what follows ``python -m experiments``.
      summary: what the command does, in one or two sentences.
      options: flags and arguments, each with its description.
      examples: commands, each with what it does.
    """

    usage: str
    summary: str
    options: Sequence[tuple[str, str]] = ()
    examples: Sequence[tuple[str, str]] = ()


TRAIN = CommandHelp(
    usage="train CONFIG [--workdir DIR] [--sink NAME] [--any.field value ...]",
    summary="Train a config, or resume its run in the workdir. The same command with the same"
    " workdir goes on where it was.",
    options=[
        ("CONFIG", "a YAML file; `list` shows those that come with this project"),
        ("--workdir DIR", "folder of the run: config, metrics, checkpoints, figures"),
        ("--any.field value", "replaces a value of the file, such as --model.hidden_size 64"),
        ("--coordinator HOST:PORT --processes N --process_id I",
            "train by several processes, of which this one has the number I from 0"),
        ("--distributed auto|none",
            "let JAX find the other processes; or train alone where a launcher started several"),
        ("--heartbeat_seconds N", "silence after which a process counts as lost; 100 by default"),
        ("--sink NAME", "tensorboard, wandb or module:Name; may be repeated"),
        ("--help", "after CONFIG: every field, with its range and its value in the file"),
    ],
    examples=[
        ("train configs/demo.yaml", "a first run, in seconds"),
        ("train configs/adding.yaml --seeds 5 --workdir runs/five", "five seeds at once"),
        ("train configs/copy.yaml --model.cell gru --model.layers 2", "two layers of another cell"),
        ("train configs/adding.yaml --optimizer.name adamw --optimizer.weight_decay 1e-3",
            "another optimizer, with a field of its own"),
        ("train configs/adding.yaml --help", "every field of this config"),
    ],
)  # fmt: skip

EVALUATE = CommandHelp(
    usage="evaluate WORKDIR [--task.field value ...] [--eval.field value ...]",
    summary="Evaluate a trained model on test sequences, also on other lengths or more of them.",
    options=[
        ("WORKDIR", "the folder of a run"),
        ("--task.field value", "replaces a value of the task, such as --task.length 800"),
        ("--eval.field value", "replaces a value of the evaluation"),
    ],
    examples=[
        ("evaluate runs/adding", "the test sequences of the training"),
        ("evaluate runs/adding --task.length 800", "longer sequences than in training"),
        ("evaluate runs/adding --eval.sequences 10000", "more sequences"),
    ],
)

REPORT = CommandHelp(
    usage="report WORKDIR ... [--format terminal|markdown|csv] [--out FOLDER|none] [--metric NAME]"
    " [--by FIELD ...] [--keep FOLDER]",
    summary="Compare runs in tables and figures: means and intervals over seeds, and what differs"
    " in their configs. The folder of a results page, without flags, has its page rebuilt.",
    options=[
        ("WORKDIR", "the folder of a finished run, or a folder with many"),
        ("--format NAME", "terminal, markdown or csv"),
        ("--out FOLDER", "folder of the figures; none for no figures"),
        ("--metric NAME", "another metric than that of the task"),
        ("--by FIELD ...", "fields by which runs are different arms"),
        ("--keep FOLDER", "copy of one run there what reports read of it, small enough to commit"),
    ],
    examples=[
        ("report runs/adding runs/copy", "two runs in one table"),
        ("report runs --format markdown --out none", "all runs in a folder, as Markdown"),
        ("report docs/results", "the results page and its figures, from the runs beside it"),
        ("report runs/adding --keep docs/results/adding", "a run for the results page"),
    ],
)

DRAW = CommandHelp(
    usage="draw [NAME=]WORKDIR ... --figure NAME [--lengths N,...] [--sequences N] [--out FOLDER]",
    summary="Draw what a trained model remembers: errors at other lengths, timescales, gradients"
    " against the lag, operands over training.",
    options=[
        ("[NAME=]WORKDIR", "the folder of a run, with its name in the legend; several for lengths"
            " and gradient"),
        ("--figure NAME", "lengths, timescales, gradient, operands, gates, or task for those of the"
            " task"),
        ("--lengths N,...", "lengths to test; a quarter to four times that of the training by"
            " default"),
        ("--sequences N", "number of held-out sequences"),
        ("--out FOLDER", "where to write; the figures of the first WORKDIR by default"),
    ],
    examples=[
        ("draw runs/adding --figure timescales", "how long each unit remembers, before and after"),
        ("draw one=runs/adding mixed=runs/adding_lengths --figure lengths --lengths 200,800,10000",
            "two runs on longer sequences; writes lengths.json into their folders too"),
    ],
)  # fmt: skip

BENCH = CommandHelp(
    usage="bench [--suite NAME] [--cases NAME,...] [--against NAME,...] [--out FOLDER] [--render]",
    summary="Measure this library beside other libraries, and write the page of the suite.",
    options=[
        ("--suite NAME", "cpu, gpu, layers, stream, memory, compile or scaling"),
        ("--cases NAME,...", "some cases of the suite"),
        ("--rounds N", "measurements of each case"),
        ("--against NAME,...", "flax, torch, haiku, equinox, keras, or none"),
        ("--implementations NAME,...", "backends of this library"),
        ("--out FOLDER", "where to write; docs/benchmarks by default"),
        ("--render", "only write pages and pictures again, from measured results"),
    ],
    examples=[
        ("bench --suite cpu --against none", "this library alone"),
        ("bench --suite cpu --render", "the page again, without measuring"),
    ],
)

LIST = CommandHelp(
    usage="list [FOLDER ...]",
    summary="List configs with their headers: what they train, and the results to expect.",
    options=[("FOLDER", "a folder with YAML files; configs by default")],
    examples=[("list", "the configs of this project"), ("list my_configs", "those of a folder")],
)

SWEEP = CommandHelp(
    usage="sweep FILE [--workdir DIR] [--dry-run] [--max_lanes N] [--no-figures]"
    " [--any.field value ...]",
    summary="Train all points of a sweep, or go on with it. Points that differ in numbers only,"
    " such as learning rates and seeds, train together.",
    options=[
        ("FILE", "a YAML file with a config and the values of its fields"),
        ("--workdir DIR", "folder of all runs of the sweep"),
        ("--dry-run", "only say what would run, and how long it may take"),
        ("--max_lanes N", "largest number of models that train together"),
        ("--no-figures", "draw nothing at the end of a run"),
        ("--any.field value", "replaces a value of the config, for all points"),
    ],
    examples=[
        ("sweep configs/sweeps/adding_length.yaml --dry-run", "what would run"),
        ("sweep configs/sweeps/adding_length.yaml", "trains it; again, goes on with it"),
    ],
)

SEARCH = CommandHelp(
    usage="search FILE [--workdir DIR] [--trials N] [--workers N] [--storage URL]"
    " [--any.field value ...]",
    summary="Search for good values of fields with Optuna. Poor trials are ended early; several"
    " workers, also on several machines, share a study.",
    options=[
        ("FILE", "a YAML file with a config and the ranges of its fields"),
        ("--workdir DIR", "folder of the study and its runs"),
        ("--trials N", "number of trials"),
        ("--workers N", "processes on this machine"),
        ("--storage URL", "database of the study; a file in the workdir by default"),
        ("--no-figures", "draw nothing at the end of a trial"),
    ],
    examples=[
        ("search my_search.yaml --trials 20", "twenty trials, one after the other"),
        ("search my_search.yaml --workers 2", "two at a time"),
    ],
)

REPLAY = CommandHelp(
    usage="replay DIR",
    summary="Compute the update again at which a seed diverged, and say whether it is the same.",
    options=[("DIR", "a folder in WORKDIR/diverged, or the workdir for all of them")],
    examples=[("replay runs/adding", "the bad update of every seed that diverged")],
)

PROFILE = CommandHelp(
    usage="profile CONFIG [--updates N] [--out DIR] [--any.field value ...]",
    summary="Print where the time of a training goes, and write a profiler trace.",
    options=[
        ("CONFIG", "a YAML file"),
        ("--updates N", "updates to time, 50 by default; fewer make a smaller trace"),
        ("--out DIR", "folder of profile.json and of the trace"),
        ("--any.field value", "replaces a value of the file"),
    ],
    examples=[
        ("profile configs/adding.yaml", "compile, host and device times, and memory"),
        ("profile configs/adding.yaml --updates 20 --model.hidden_size 256", "of a larger model"),
    ],
)

PAGES = {
    "train": TRAIN,
    "sweep": SWEEP,
    "search": SEARCH,
    "evaluate": EVALUATE,
    "replay": REPLAY,
    "report": REPORT,
    "draw": DRAW,
    "profile": PROFILE,
    "bench": BENCH,
    "list": LIST,
}
"""The help pages by command."""


def print_command_help(page: CommandHelp, console: Console | None = None) -> None:
    """Print the help page of a command."""
    console = console or standard_output()
    print_text(console, f"usage: python -m experiments {page.usage}", hanging=7)
    console.print()
    print_text(console, page.summary)
    if page.examples:
        print_title(console, "examples")
        for command, what in page.examples:
            print_text(console, f"python -m experiments {command}", indent=2, hanging=4)
            print_text(console, what, indent=6, style="dim")
    if page.options:
        print_title(console, "arguments")
        print_pairs(console, page.options)


def print_overview(console: Console | None = None) -> None:
    """Print the usage of every command, and what it does."""
    console = console or standard_output()
    print_text(console, "usage: python -m experiments COMMAND ...", hanging=7)
    print_title(console, "commands")
    for page in PAGES.values():
        print_text(console, page.usage, indent=2, hanging=8)
        print_text(console, page.summary, indent=6, style="dim")
    console.print()
    print_text(
        console,
        "python -m experiments COMMAND --help prints a page with examples, and train CONFIG --help"
        " every field with its range and its value in the file.",
    )
