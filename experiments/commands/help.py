"""Help on the command line: every field of a config, from its schema."""

import dataclasses
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from rich.console import Console
from rich.text import Text

from experiments.commands.layout import print_pair, print_title, standard_output
from experiments.commands.pages import CommandHelp, print_command_help
from experiments.config.calls import ActivationText, InitializerText
from experiments.config.fields import LARGEST, SMALLEST
from experiments.config.layer import CELLS, LayerConfig
from experiments.config.model import SHARED, ModelConfig, is_short
from experiments.config.optimizer import OPTIMIZERS
from experiments.config.schema import Config
from experiments.config.section_class import descriptions
from experiments.tasks import TASKS

NAMES = {"task.name": TASKS, "optimizer.name": OPTIMIZERS, "cell": CELLS}
"""What can be named in fields that select a component."""


class Row(NamedTuple):
    """A field of a config: its flag, type, range, value and description."""

    flag: str
    kind: str
    value: str
    description: str


def print_help(config: Config, path: Path, console: Console | None = None) -> None:
    """Print every field of a config, as flags of ``train``, with its value.

    Args:
      config: the config of the file, with the flags that were given.
      path: the file, for the examples.
      console: where to print; standard output by default.
    """
    console = console or standard_output()
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
        print_title(console, title)
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
    shared = [row for row in _rows(model, "model") if row.flag.split(".")[1] in SHARED]
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
        kind = " | ".join([*names, "module:Name"]) if names else kind_of(hint or hints[field.name])
        yield Row(f"--{name}", kind, value_text(value), texts[field.name])


def kind_of(hint: Any) -> str:
    """The type and the range of a field in words.

    >>> from experiments.config.fields import Rate
    >>> kind_of(Rate), kind_of(Rate | None), kind_of(Literal["a", "b"]), kind_of(tuple[int, ...])
    ('float, 0 to 0.999', 'float, 0 to 0.999, or none', 'a | b', 'list of int')
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (InitializerText, ActivationText):
        return "initializer" if hint == InitializerText else "activation"
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
    # A range may be narrower than that of its type.
    smallest, low = max(_bounds(flat, "ge", "gt"), default=(None, ""))
    largest, high = min(_bounds(flat, "le", "lt"), default=(None, ""))
    # The limits of float32 are of no interest.
    above = "above " if low == "gt" or smallest == SMALLEST else ""
    below = "below " if high == "lt" else ""
    if smallest in (None, -LARGEST):
        return "" if largest in (None, LARGEST) else f"up to {below}{_number(largest)}"
    low_text = f"{above}{_number(0 if smallest == SMALLEST else smallest)}"
    if largest in (None, LARGEST):
        return low_text if above else f"from {low_text}"
    return f"{low_text} to {below}{_number(largest)}"


def _bounds(metadata: Sequence[Any], *names: str) -> list[tuple[Any, str]]:
    """The bounds in the metadata of a type, each with its name."""
    found = [(getattr(each, name, None), name) for each in metadata for name in names]
    return [(value, name) for value, name in found if value is not None]


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


def _print_rows(console: Console, rows: Sequence[Row]) -> None:
    for row in rows:
        head = Text(row.flag, style="cyan")
        head.append(f" {row.value}", style="bold")
        details = f"{row.description} ({row.kind})" if row.description else f"({row.kind})"
        print_pair(console, head, details)
