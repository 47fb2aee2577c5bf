"""Help on the command line: every field of a config from its schema, and every command's page."""

import dataclasses
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from rich.console import Console
from rich.text import Text

from experiments.config.fields import LARGEST, SMALLEST
from experiments.config.layer import CELLS, LayerConfig
from experiments.config.model import SHARED, ModelConfig, is_short
from experiments.config.optimizer import OPTIMIZERS
from experiments.config.schema import Config
from experiments.config.section_class import descriptions
from experiments.tasks import TASKS

NAMES = {"task.name": TASKS, "optimizer.name": OPTIMIZERS, "cell": CELLS}
"""What can be named in fields that select a component."""

NARROW = 72
"""Columns below which a description stands under its flag."""


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


class Row(NamedTuple):
    """A field of a config: its flag, type, range, value and description."""

    flag: str
    kind: str
    value: str
    description: str


TRAIN = CommandHelp(
    usage="train CONFIG [--workdir DIR] [--any.field value ...]",
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
    usage="report WORKDIR ...",
    summary="Print a table of finished runs.",
    options=[("WORKDIR", "the folder of a finished run; any number of them")],
    examples=[("report runs/adding runs/copy", "two runs in one table")],
)

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

COMMANDS = {"train": TRAIN, "evaluate": EVALUATE, "report": REPORT, "bench": BENCH, "list": LIST}
"""The help pages by command."""


def print_command_help(page: CommandHelp, console: Console | None = None) -> None:
    """Print the help page of a command."""
    console = console or _console()
    _print_text(console, f"usage: python -m experiments {page.usage}", hanging=7)
    console.print()
    _print_text(console, page.summary)
    if page.examples:
        _print_title(console, "examples")
        for command, what in page.examples:
            _print_text(console, f"python -m experiments {command}", indent=2, hanging=4)
            _print_text(console, what, indent=6, style="dim")
    if page.options:
        _print_title(console, "arguments")
        _print_pairs(console, page.options)


def print_help(config: Config, path: Path, console: Console | None = None) -> None:
    """Print every field of a config, as flags of ``train``, with its value.

    Args:
      config: the config of the file, with the flags that were given.
      path: the file, for the examples.
      console: where to print; standard output by default.
    """
    console = console or _console()
    layers = "" if is_short(config.model) else ".layers.0"
    size = f" --model{layers}.hidden_size 64"
    page = CommandHelp(
        usage=f"train {path} [--workdir DIR] [--any.field value ...]",
        summary="Fields of the file are set by flags; the values below are those of the file and of"
        " the flags before --help. none stands for null.",
        examples=[
            (f"train {path} --workdir runs/another{size}", "another size, in a folder of its own"),
            (f"train {path} --seeds 5", "five seeds at once"),
            (f"train {path} --optimizer.name sgd --help", "the fields of another optimizer"),
        ],
    )
    print_command_help(page, console)
    for title, rows in help_rows(config):
        _print_title(console, title)
        _print_rows(console, rows)


def help_rows(config: Config) -> Iterator[tuple[str, list[Row]]]:
    """The sections of a config, each with a row for every field.

    >>> from experiments.tasks import Adding
    >>> sections = dict(help_rows(Config(task=Adding())))
    >>> sections["eval: evaluation on held-out sequences"][0]
    Row(flag='--eval.sequences', kind='int, 1 to 100,000,000', value='2000',\
 description='number of held-out sequences')
    """
    for field in dataclasses.fields(Config):
        section = getattr(config, field.name)
        if isinstance(section, ModelConfig):
            yield from _model_rows(section)
        elif dataclasses.is_dataclass(section):
            yield _title(field.name, section), list(_rows(section, field.name))
    fields = ("seed", "seeds")
    yield "seeds", [row for row in _rows(config, "") if row.flag[2:] in fields]


def _model_rows(model: ModelConfig) -> Iterator[tuple[str, list[Row]]]:
    short = is_short(model)
    shared = [row for row in _rows(model, "model") if row.flag.split(".")[-1] in SHARED]
    count = str(len(model.layers)) if short else f"a list of {len(model.layers)}"
    layers = Row("--model.layers", "int, or a list", count, descriptions(ModelConfig)["layers"])
    yield _title("model", model), [layers, *shared]
    for i, layer in enumerate(model.layers[:1] if short else model.layers):
        prefix = "model" if short else f"model.layers.{i}"
        rows = list(_rows(layer, prefix))
        own = {f"--{prefix}.{name}" for name in ("cell", *layer.own)}
        title = f"{prefix}: the cell {layer.cell}"
        yield title, [row for row in rows if row.flag in own]
        title = f"{prefix}: initial weights, dtype, directions and transforms of any cell"
        yield title, [row for row in rows if row.flag not in own]


def _rows(section: Any, prefix: str) -> Iterator[Row]:
    """A row for each field of a section, and for the fields of what it has inside."""
    hints, texts = get_type_hints(type(section), include_extras=True), descriptions(type(section))
    for field in dataclasses.fields(section):
        name, value = f"{prefix}.{field.name}".lstrip("."), getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from _rows(value, name)
            continue
        names = NAMES.get(name, NAMES.get(field.name) if isinstance(section, LayerConfig) else None)
        info = type(section).__pydantic_fields__.get(field.name)  # type: ignore[union-attr]
        hint = Annotated[hints[field.name], *info.metadata] if info and info.metadata else None
        own = section.own.get(field.name) if isinstance(section, LayerConfig) else None
        if names:
            kind = " | ".join([*names, "module:Name"])
        elif own is not None and own.make is not None:
            kind = f"{own.make.__name__} | none"
        else:
            kind = kind_of(hint or hints[field.name])
        yield Row(f"--{name}", kind, value_text(value), texts[field.name])


def kind_of(hint: Any) -> str:
    """The type and the range of a field in words.

    >>> from experiments.config.fields import Rate
    >>> kind_of(Rate), kind_of(Rate | None), kind_of(Literal["a", "b"]), kind_of(tuple[int, ...])
    ('float, 0 to 0.999', 'float, 0 to 0.999, or none', 'a | b', 'list of int')
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind = kind_of(arguments[0])
        bounds = _range(arguments[1:])
        # A range is given once, though an annotation and its field may both have it.
        return f"{kind}, {bounds}" if bounds and bounds not in kind else kind
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        kinds = dict.fromkeys("none" if e is type(None) else kind_of(e) for e in arguments)
        simple = not any(", " in kind for kind in kinds)
        return " | ".join(kinds) if simple else ", or ".join(kinds)
    if origin in (tuple, list):
        return f"list of {kind_of(arguments[0])}"
    if dataclasses.is_dataclass(hint):
        return "mapping"
    return "text" if hint is str else getattr(hint, "__name__", str(hint))


def _range(metadata: Sequence[Any]) -> str:
    flat = [each for info in metadata for each in getattr(info, "metadata", [info])]
    bounds: list[tuple[Any, Any]]
    bounds = [(e.ge if isinstance(e, Ge) else e.gt, e) for e in flat if isinstance(e, Ge | Gt)]
    # A range may be narrower than that of its type.
    smallest, low = max(bounds, key=lambda each: each[0], default=(None, None))
    bounds = [(e.le if isinstance(e, Le) else e.lt, e) for e in flat if isinstance(e, Le | Lt)]
    largest, high = min(bounds, key=lambda each: each[0], default=(None, None))
    # The limits of float32 are of no interest.
    above = "above " if isinstance(low, Gt) or smallest == SMALLEST else ""
    below = "below " if isinstance(high, Lt) else ""
    if smallest in (None, -LARGEST):
        return "" if largest in (None, LARGEST) else f"up to {below}{_number(largest)}"
    low_text = f"{above}{_number(0 if smallest == SMALLEST else smallest)}"
    if largest in (None, LARGEST):
        return low_text if above else f"from {low_text}"
    return f"{low_text} to {below}{_number(largest)}"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and value >= 10**4 else f"{value:g}"


def value_text(value: Any) -> str:
    """A value as one writes it after a flag.

    >>> value_text(None), value_text(True), value_text((3, 3)), value_text(1e-3)
    ('none', 'true', '[3, 3]', '0.001')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(value_text, value))}]"
    return str(value)


def _title(name: str, section: Any) -> str:
    doc = (type(section).__doc__ or "").strip().splitlines()
    first = doc[0].rstrip(".") if doc else ""
    known = first and not first.startswith(f"{type(section).__name__}(")
    return f"{name}: {first[0].lower()}{first[1:]}" if known else name


def _console() -> Console:
    """Standard output; without a terminal it is plain text of the width of `COLUMNS`, or 80."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=False)


def _print_title(console: Console, title: str) -> None:
    console.print()
    _print_text(console, title, style="bold")


def _print_rows(console: Console, rows: Sequence[Row]) -> None:
    for row in rows:
        head = Text(row.flag, style="cyan")
        head.append(f" {row.value}", style="bold")
        details = f"{row.description} ({row.kind})" if row.description else f"({row.kind})"
        _print_pair(console, head, details)


def _print_pairs(console: Console, pairs: Sequence[tuple[str, str]]) -> None:
    for left, right in pairs:
        _print_pair(console, Text(left, style="cyan"), right)


def _print_pair(console: Console, left: Text, right: str) -> None:
    """A flag and its description beside it, or below it where there is no room."""
    column = min(44, console.width // 2)
    beside = console.width >= NARROW and len(left) + 4 <= column
    if not beside:
        console.print(Text("  ").append_text(left), crop=False)
        _print_text(console, right, indent=6 if console.width < NARROW else column)
        return
    lines = Text(right).wrap(console, max(console.width - column, 20))
    for i, line in enumerate(lines):
        line.rstrip()
        start = Text("  ").append_text(left) if i == 0 else Text("")
        start.pad_right(column - len(start))
        console.print(start.append_text(line), no_wrap=True, crop=False)


def _print_text(
    console: Console, text: str, indent: int = 0, hanging: int | None = None, style: str = ""
) -> None:
    """Text in lines of the console's width, the first with an indent of its own."""
    hanging = indent if hanging is None else hanging
    lines = Text(text, style=style).wrap(console, max(console.width - max(indent, hanging), 20))
    for i, line in enumerate(lines):
        line.rstrip()
        start = Text(" " * (indent if i == 0 else hanging))
        console.print(start.append_text(line), no_wrap=True, crop=False)
