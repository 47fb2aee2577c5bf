"""The sections of a config: which class checks each, and what its errors say."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from experiments.config.layer import LayerConfig, layer_class
from experiments.config.model import SHARED, ModelConfig
from experiments.config.optimizer import optimizer_class
from experiments.config.schema import EvalConfig, TrainConfig
from experiments.config.task import task_class
from lstm_jax.did_you_mean import did_you_mean, nearest

SECTIONS = ("task", "model", "optimizer", "train", "eval")


@dataclass
class Reading:
    """A config while it is read: its sections, and a message for every field that is wrong.

    Attributes:
      values: the sections and top-level fields that are right, as arguments of `Config`.
      names: the dotted names of all fields that the config may have.
      errors: a message by dotted name; the name of the task, say, selects what names there are.
    """

    values: dict[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


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
    _find_unknown(reading, top, "")
    return reading


def section_class_of(name: str, section: Mapping[str, Any]) -> Any:
    """The class of a section, with the name that it gives.

    Raises:
      ValueError: if there is nothing of this name.
    """
    match name:
        case "task":
            return task_class(_hashable(section.get("name")))
        case "optimizer":
            return optimizer_class(_hashable(section.get("name", "adam")))
        case "train":
            return TrainConfig
        case "eval":
            return EvalConfig
    return layer_class(_hashable(section.get("cell", "lstm")))


def _read_section(reading: Reading, name: str, section: Mapping[str, Any]) -> None:
    try:
        cls = section_class_of(name, section)
    except ValueError as error:
        reading.errors[f"{name}.name"] = str(error)
        # Of what there is no class, no field is unknown.
        reading.names += [f"{name}.{key}" for key in section]
        return
    fields = list(cls.__pydantic_fields__)
    reading.names += [f"{name}.{each}" for each in fields]
    value = validated(reading, cls, section, f"{name}.")
    if value is not None:
        reading.values[name] = value


def _read_model(reading: Reading, section: Mapping[str, Any]) -> None:
    """The short form, or a list of layers that have what they do not set from the section."""
    shared = {name: section[name] for name in SHARED if name in section}
    common = {n: v for n, v in section.items() if n not in SHARED and n != "layers"}
    layers = section.get("layers", 1)
    reading.names += [f"model.{name}" for name in ("layers", *SHARED)]
    model = validated(reading, ModelConfig, shared, "model.")
    made: list[LayerConfig | None] = []
    if isinstance(layers, list | tuple) and layers:
        for i, layer in enumerate(layers):
            if isinstance(layer, Mapping):
                own = f"model.layers.{i}."
                made.append(_read_layer(reading, common, layer, own))
            else:
                message = f"must be a mapping of fields; got {short(layer)}"
                reading.errors[f"model.layers.{i}"] = message
                made.append(None)
    elif isinstance(layers, int) and not isinstance(layers, bool) and 1 <= layers <= 1000:
        made = [_read_layer(reading, common, {}, "")] * layers
    else:
        reading.errors["model.layers"] = (
            f"must be a number of layers from 1 to 1000, or a list of them; got {short(layers)}"
        )
    if model is not None and made and None not in made:
        reading.values["model"] = ModelConfig(
            tuple(each for each in made if each is not None),
            **{name: getattr(model, name) for name in SHARED},
        )


def _read_layer(
    reading: Reading, common: Mapping[str, Any], own: Mapping[str, Any], prefix: str
) -> LayerConfig | None:
    """A layer from the fields of the section and its own; errors name where a field stands."""

    def place(name: str) -> str:
        return f"{prefix}{name}" if name.partition(".")[0] in own else f"model.{name}"

    tree = {**common, **own}
    if own.get("cell", common.get("cell")) != common.get("cell"):
        # The fields beside the list are for its other cells as well.
        known = _fields_of_layer(own["cell"])
        tree = {name: value for name, value in tree.items() if name in own or name in known}
    try:
        cls = layer_class(_hashable(tree.get("cell", "lstm")))
    except ValueError as error:
        reading.errors[place("cell")] = str(error)
        reading.names += [place(name) for name in tree]
        return None
    for name in cls.__pydantic_fields__:
        reading.names += dict.fromkeys([f"model.{name}", *([prefix + name] if prefix else [])])
    return validated(reading, cls, tree, place)


def _fields_of_layer(cell: Any) -> set[str]:
    try:
        return set(layer_class(_hashable(cell)).__pydantic_fields__)
    except ValueError:
        return set()


def validated(reading: Reading, cls: Any, tree: Mapping[str, Any], place: Any) -> Any:
    """An object of a class from plain values, or None with the errors added to the reading.

    Args:
      reading: gets the errors.
      cls: a dataclass of Pydantic.
      tree: its fields.
      place: prefix of the dotted names of the fields, or a function from a name to the dotted one.
    """
    dotted = place if callable(place) else lambda name: f"{place}{name}"
    _find_unknown(
        reading, {n: v for n, v in tree.items() if n not in cls.__pydantic_fields__}, dotted
    )
    known = {n: v for n, v in tree.items() if n in cls.__pydantic_fields__}
    try:
        # Strict validation converts mappings to dataclasses only from JSON.
        return TypeAdapter(cls).validate_json(json.dumps(known))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            loc = [str(part) for part in detail["loc"]]
            # In a union, Pydantic adds the name of the type that it tried.
            loc = [part for part in loc if part.isidentifier() or part.isdigit()]
            name = dotted(".".join(loc)) if loc else ""
            reading.errors.setdefault(name or dotted("").rstrip("."), message(detail))
    except ValueError as error:
        reading.errors.setdefault(dotted("").rstrip("."), str(error).splitlines()[0])
    return None


def _find_unknown(reading: Reading, unknown: Mapping[str, Any], place: Any) -> None:
    dotted = place if callable(place) else lambda name: f"{place}{name}"
    for name in leaves(dict(unknown)):
        if dotted(name) not in reading.names:
            reading.errors[dotted(name)] = "unknown field"


def hint_for(name: str, names: list[str]) -> str:
    """The end of the message of an unknown field, with the nearest one.

    >>> hint_for("model.hiden_size", ["model.hidden_size", "train.updates"])
    '; did you mean model.hidden_size?'
    """
    near = nearest_field(name, names)
    return f"; did you mean {near}?" if near else ""


def nearest_field(name: str, names: list[str]) -> str | None:
    """The field whose dotted name is nearest to a name, or None if none is near.

    The section of a field may be missing or wrong.

    >>> nearest_field("hidden_size", ["model.hidden_size", "train.updates"])
    'model.hidden_size'
    """
    tail = name.rsplit(".", 1)[-1]
    tails = {each.rsplit(".", 1)[-1]: each for each in reversed(names)}
    if tail in tails:
        return tails[tail]
    return nearest(name, names) or tails.get(nearest(tail, tails) or "")


def message(detail: Any) -> str:
    """An error of Pydantic in one line."""
    given = detail["input"]
    match detail["type"]:
        case "missing" | "missing_argument":
            return "missing"
        case "literal_error":
            expected = detail["ctx"]["expected"]
            hint = did_you_mean(given, re.findall(r"'(\w+)'", expected))
            return f"must be {expected}; got {short(given)}{hint}"
        case "dataclass_type" | "model_attributes_type" | "dict_type":
            return f"must be a mapping of fields; got {short(given)}"
        case "value_error":
            return str(detail["ctx"]["error"]).splitlines()[0]
    expected = detail["msg"].removeprefix("Input should be ")
    return f"must be {expected}; got {short(given)}"


def short(value: Any) -> str:
    """A value in a message, cut where it is long.

    >>> short("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'"
    """
    text = repr(value)
    return text if len(text) <= 42 else f"{text[:37]}...{text[-1]}"


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


def _hashable(name: Any) -> Any:
    """A name that can be looked up; what is no text is shown as it is."""
    return name if isinstance(name, str) else repr(name)
