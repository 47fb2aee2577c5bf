"""The sections of a config: which class checks each, and what is wrong with their fields."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from experiments.config.components import short
from experiments.config.devices import DevicesConfig
from experiments.config.fields import FieldErrors
from experiments.config.layer import CELLS, LayerConfig, layer_class
from experiments.config.messages import message, own_error
from experiments.config.model import MOST_LAYERS, SHARED, ModelConfig
from experiments.config.optimizer import OPTIMIZERS, optimizer_class
from experiments.config.schema import EvalConfig, TrainConfig
from experiments.config.task import task_class
from experiments.tasks import TASKS

SECTIONS = ("task", "model", "optimizer", "train", "eval", "devices")

Place = Callable[[str], str]
"""From the name of a field to its dotted name in the config."""


@dataclass
class Reading:
    """A config while it is read: its sections, and a message for every field that is wrong.

    Attributes:
      values: the sections and top-level fields that are right, as arguments of `Config`.
      names: the dotted names of all fields that the config may have.
      errors: a message by dotted name; the name of the task, say, selects what names there are.
      layer_places: for each layer, from a field to its dotted name.
    """

    values: dict[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    layer_places: list[Place] = field(default_factory=list)

    def place(self, name: str) -> str:
        """The dotted name where a field stands; that of a layer may stand beside the list."""
        section, *rest = name.split(".")
        if section == "model" and len(rest) > 2 and rest[0] == "layers":
            return self.layer_places[int(rest[1])](".".join(rest[2:]))
        return name


def read_sections(tree: Mapping[str, Any]) -> Reading:
    """Check every section with the class that it selects.

    Args:
      tree: the config as plain mappings.

    Returns:
      The sections, and what is wrong.
    """
    reading = Reading()
    for name in SECTIONS:
        section = tree.get(name, {})
        if name == "task" and "task" not in tree:
            reading.errors["task"] = "missing"
            reading.names.append("task.name")
        elif not isinstance(section, Mapping):
            reading.errors[name] = f"must be a mapping of fields; got {short(section)}"
            reading.names.append(name)
        elif name == "model":
            _read_model(reading, section)
        else:
            _read_section(reading, name, section)
    top = {name: value for name, value in tree.items() if name not in SECTIONS}
    reading.names += ["seed", "seeds"]
    reading.values |= {name: top[name] for name in ("seed", "seeds") if name in top}
    _find_unknown(reading, top, str)
    return reading


SELECTORS = {"task": "name", "optimizer": "name", "model": "cell"}
"""The field of a section that selects its class."""


def section_class_of(name: str, section: Mapping[str, Any]) -> Any:
    """The class of a section, with the name that it gives.

    Raises:
      ValueError: if there is nothing of this name.

    >>> section_class_of("optimizer", {"name": "lion"}).__name__
    'Lion'
    """
    match name:
        case "task":
            if "name" not in section:
                raise ValueError("missing")
            return task_class(section["name"])
        case "optimizer":
            return optimizer_class(section.get("name", "adam"))
        case "train":
            return TrainConfig
        case "eval":
            return EvalConfig
        case "devices":
            return DevicesConfig
    return layer_class(section.get("cell", "lstm"))


def _read_section(reading: Reading, name: str, section: Mapping[str, Any]) -> None:
    try:
        cls = section_class_of(name, section)
    except ValueError as error:
        reading.errors[f"{name}.name"] = str(error)
        # Of what there is no class, no field is unknown.
        reading.names += [f"{name}.name", *(f"{name}.{key}" for key in section)]
        return
    reading.names += [f"{name}.{each}" for each in cls.__pydantic_fields__]
    value = validated(reading, cls, section, lambda field: f"{name}.{field}", name)
    if value is not None:
        reading.values[name] = value


def _read_model(reading: Reading, section: Mapping[str, Any]) -> None:
    """The short form, or a list of layers that have what they do not set from the section."""
    shared = {name: section[name] for name in SHARED if name in section}
    common = {n: v for n, v in section.items() if n not in SHARED and n != "layers"}
    reading.names += [f"model.{name}" for name in ("layers", *SHARED)]
    model = validated(reading, ModelConfig, shared, lambda name: f"model.{name}", "model")
    layers = section.get("layers", 1)
    made: list[LayerConfig | None] = []
    if isinstance(layers, list | tuple) and 1 <= len(layers) <= MOST_LAYERS:
        used: set[str] = set()
        for i, own in enumerate(layers):
            if isinstance(own, Mapping):
                made.append(_read_layer(reading, common, own, i, used))
            else:
                text = f"must be a mapping of fields; got {short(own)}"
                reading.errors[f"model.layers.{i}"] = text
                reading.layer_places.append(lambda name: f"model.{name}")
                made.append(None)
                used.update(common)
        # A field beside the list is for the layers whose cells have it.
        unused = {name: value for name, value in common.items() if name not in used}
        _find_unknown(reading, unused, lambda name: f"model.{name}")
    elif isinstance(layers, int) and not isinstance(layers, bool) and 1 <= layers <= MOST_LAYERS:
        made = [_read_layer(reading, common, {}, None, set())] * layers
        reading.layer_places *= layers
    else:
        reading.errors["model.layers"] = (
            f"must be a number of layers from 1 to {MOST_LAYERS}, or a list of them;"
            f" got {short(layers)}"
        )
    if model is not None and made and None not in made:
        reading.values["model"] = ModelConfig(
            tuple(each for each in made if each is not None),
            **{name: getattr(model, name) for name in SHARED},
        )


def _read_layer(
    reading: Reading,
    common: Mapping[str, Any],
    own: Mapping[str, Any],
    index: int | None,
    used: set[str],
) -> LayerConfig | None:
    """A layer from the fields of the section and its own; errors name where a field stands.

    Args:
      reading: gets the names, the errors and the places.
      common: the fields of the section.
      own: the layer's own fields.
      index: its place in the list; None where the section gives the number of layers.
      used: gets the fields of the section that the layer has.
    """
    prefix = "model." if index is None else f"model.layers.{index}."

    def place(name: str) -> str:
        first = name.partition(".")[0]
        return f"model.{name}" if first in common and first not in own else f"{prefix}{name}"

    reading.layer_places.append(place)
    cell = own.get("cell", common.get("cell", "lstm"))
    used.add("cell")
    try:
        cls = layer_class(cell)
    except ValueError as error:
        reading.errors[place("cell")] = str(error)
        # Of what there is no class, no field is unknown.
        reading.names += [place("cell"), *(place(name) for name in (*common, *own))]
        used.update(common)
        return None
    fields = cls.__pydantic_fields__  # type: ignore[attr-defined]
    reading.names += dict.fromkeys(
        f"{each}{name}" for name in fields for each in {prefix, "model."}
    )
    used.update(name for name in common if name in fields)
    below = {n: v for n, v in common.items() if index is None or n in fields}
    return validated(reading, cls, {**below, **own}, place, prefix.rstrip("."))


def validated(reading: Reading, cls: Any, tree: Mapping[str, Any], place: Place, whole: str) -> Any:
    """An object of a class from plain values, or None with the errors added to the reading.

    Args:
      reading: gets the errors.
      cls: a dataclass of Pydantic.
      tree: its fields.
      place: from the name of a field to its dotted name.
      whole: the name of the section, for an error that names no field.
    """
    fields = cls.__pydantic_fields__
    _find_unknown(reading, {n: v for n, v in tree.items() if n not in fields}, place)
    known = {name: value for name, value in tree.items() if name in fields}
    try:
        # Strict validation converts mappings to dataclasses only from JSON.
        return TypeAdapter(cls).validate_json(json.dumps(known))
    except ValidationError as error:
        found: dict[str, list[str]] = {}
        for detail in error.errors(include_url=False):
            loc = [str(part) for part in detail["loc"]]
            if detail["type"] == "unexpected_keyword_argument":
                found[place(".".join(loc))] = ["unknown field"]
                continue
            # In a union, Pydantic adds the name of the type that it tried.
            at = [part for part in loc if part in _names_in(cls) or part.isdecimal()]
            name = place(".".join(at)) if at else whole
            cause = detail.get("ctx", {}).get("error")
            if isinstance(cause, FieldErrors):
                # The fields of a mapping inside of the section are named from the section on.
                named = {".".join([*at, name]): text for name, text in cause.errors.items()}
                found |= {place(name): [text] for name, text in named.items()}
            else:
                found.setdefault(name, []).append(message(detail))
        for name, texts in found.items():
            # Of a mapping where a union has one, only what is wrong inside of it is reported.
            if not any(each.startswith(f"{name}.") for each in found):
                reading.errors.setdefault(name, _one_of(texts))
    # The class may be one's own, which may raise anything.
    except Exception as error:
        reading.errors.setdefault(whole, own_error(error))
    return None


def _one_of(texts: list[str]) -> str:
    """One message of several, of the types that a union tried.

    >>> _one_of(["must be a valid integer; got 'x'", "must be a valid number; got 'x'"])
    "must be a valid integer or a valid number; got 'x'"
    """
    texts = list(dict.fromkeys(texts))
    parts = [text.partition("; got ") for text in texts]
    if len(texts) == 1 or any(part[2] != parts[0][2] or not part[2] for part in parts):
        return texts[0]
    wanted = " or ".join(part[0].removeprefix("must be ") for part in parts)
    return f"must be {wanted}; got {parts[0][2]}"


def _names_in(cls: Any) -> set[str]:
    """The names of the fields of a class, and of the classes of its fields."""
    names = set(cls.__pydantic_fields__)
    for info in cls.__pydantic_fields__.values():
        for kind in (info.annotation, *getattr(info.annotation, "__args__", ())):
            if hasattr(kind, "__pydantic_fields__"):
                names |= _names_in(kind)
    return names


def _find_unknown(reading: Reading, unknown: Mapping[str, Any], place: Place) -> None:
    for name in leaves(dict(unknown)):
        if place(name) not in reading.names:
            others = _others_with(place(name))
            reading.errors[place(name)] = f"unknown field{f'; {others} has it' if others else ''}"


def _others_with(name: str) -> str:
    """The first built-in component of a section that has a field."""
    section, _, leaf = name.partition(".")
    built_in: Mapping[str, Any] = {"task": TASKS, "optimizer": OPTIMIZERS, "model": CELLS}
    for each in built_in.get(section, ()) if "." not in leaf else ():
        cls = section_class_of(section, {SELECTORS[section]: each})
        if leaf in cls.__pydantic_fields__:
            return each
    return ""


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings and lists by dotted name.

    >>> leaves({"a": {"b": 1}, "c": [{"d": 2}], "e": []})
    {'a.b': 1, 'c.0.d': 2, 'e': []}
    """
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            found |= leaves(value, f"{name}.")
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            found |= leaves({str(i): each for i, each in enumerate(value)}, f"{name}.")
        else:
            found[name] = value
    return found
