"""Values that replace those of a config file, by their dotted names."""

from collections.abc import Mapping
from typing import Any

from experiments.config.components import find_component, short_text
from experiments.config.layer import CELLS, forget_gate_bias
from experiments.config.model import MOST_LAYERS
from experiments.config.sections import SELECTORS, section_class_of
from experiments.errors import UserError


def with_overrides(tree: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The sections with overrides set.

    Where an override names another task, optimizer or cell, the fields of the file that only the
    one in the file has are dropped; those that both have stay. A cell without a forget gate has
    neither its bias nor timescales.

    Raises:
      UserError: if an override is for a field of a single value, or of a layer that there is not.

    >>> tree = {"optimizer": {"name": "adam", "b2": 0.99, "eps": 1e-6}}
    >>> with_overrides(tree, {"optimizer.name": "lion"})
    {'optimizer': {'name': 'lion', 'b2': 0.99}}
    """
    result: Any = {name: _copied(value) for name, value in tree.items()}
    for name, value in overrides.items():
        section, *_, leaf = name.split(".") if "." in name else (name, "")
        parent = _set(result, name, value)
        if parent is not None and SELECTORS.get(section) == leaf:
            before = _at(tree, name.split(".")[:-1])
            _drop_fields_of_another(section, leaf, before, parent)
    return result


def _drop_fields_of_another(
    section: str, selector: str, before: Any, parent: dict[str, Any]
) -> None:
    """Drop the fields of the file that the new component does not have and the old one has."""
    if not isinstance(before, Mapping) or before.get(selector) == parent[selector]:
        return
    try:
        old = {*section_class_of(section, before).__pydantic_fields__}
        new = {*section_class_of(section, parent).__pydantic_fields__}
        if section == "model":
            cell = find_component("cell", parent[selector], CELLS)
            new -= set() if forget_gate_bias(cell) else {"forget_bias", "chrono_t_max"}
    except ValueError:
        return
    for name in [*parent]:
        if name in before and name in old - new:
            del parent[name]


def _set(tree: Any, name: str, value: Any) -> Any:
    """Set a field by its dotted name, and return what it is a field of.

    A number in the name is a place in a list; the layers of the short form become one.
    """
    *sections, leaf = name.split(".")
    if sections[:2] == ["model", "layers"] and isinstance(tree.get("model", {}), dict):
        _list_layers(tree.setdefault("model", {}))
    below = tree
    for i, section in enumerate(sections):
        if isinstance(below, dict):
            below[section] = _copied(below.get(section, {}))
            below = below[section]
        elif isinstance(below, list):
            place = _place(name, below, section)
            below[place] = _copied(below[place])
            below = below[place]
        else:
            raise _of_a_single_value(name, sections[i - 1])
    if isinstance(below, list):
        below[_place(name, below, leaf)] = value
        return None
    if not isinstance(below, dict):
        raise _of_a_single_value(name, sections[-1])
    below[leaf] = value
    return below


def _list_layers(model: dict[str, Any]) -> None:
    """Write the layers of the short form as a list, so that one of them can be another."""
    layers = model.get("layers", 1)
    if isinstance(layers, int) and not isinstance(layers, bool) and 1 <= layers <= MOST_LAYERS:
        model["layers"] = [{} for _ in range(layers)]


def _of_a_single_value(name: str, section: str) -> UserError:
    section = short_text(section)
    return UserError(f"--{short_text(name)}: unknown field; {section} is a single value")


def _place(name: str, below: list[Any], index: str) -> int:
    if not index.isdecimal() or len(index) > 4 or int(index) >= len(below):
        raise UserError(
            f"--{short_text(name)}: there is no layer {short_text(index)}; there are"
            f" {len(below)}, counted from 0"
        )
    return int(index)


def _at(tree: Any, path: list[str]) -> Any:
    """The value at a path, or None."""
    for part in path:
        if isinstance(tree, Mapping):
            tree = tree.get(part)
        elif isinstance(tree, list) and part.isdecimal() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return None
    return tree


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | list) else value
