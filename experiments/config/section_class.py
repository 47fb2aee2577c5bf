"""Classes of config sections whose fields are known only when a component has been found."""

import dataclasses
import inspect
import re
from collections.abc import Iterable
from typing import Any

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from experiments.config.fields import STRICT


def section_class(
    name: str,
    base: type[Any],
    fields: Iterable[tuple[str, Any, Any, str]],
    doc: str,
    **namespace: Any,
) -> Any:
    """A frozen dataclass with validated fields.

    Args:
      name: name of the class.
      base: the class with the common fields.
      fields: name, type, default and description of each field of its own; ``...`` stands for no
        default.
      doc: docstring.
      **namespace: methods and class attributes.

    Returns:
      The class.

    Raises:
      ValueError: if a field has a type of which a config has no values.
    """
    annotations, defaults = {}, {}
    for field, kind, default, description in fields:
        annotations[field] = kind
        defaults[field] = Field(default=default, description=description)
    body = {
        "__annotations__": annotations,
        "__doc__": doc,
        "__module__": base.__module__,
        **defaults,
        **namespace,
    }
    made: Any
    try:
        made = dataclass(frozen=True, config=STRICT, kw_only=True)(type(name, (base,), body))
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError):
        for field in dataclasses.fields(base) if dataclasses.is_dataclass(base) else ():
            if not is_config_type(field.type):
                raise ValueError(
                    f"{base.__name__}.{field.name} has the type {type_name(field.type)}, of which"
                    " a config has no values"
                ) from None
        raise
    documented = documented_fields(base)
    for field, info in made.__pydantic_fields__.items():
        info.description = info.description or documented.get(field)
    return made


def descriptions(cls: type[Any]) -> dict[str, str]:
    """What each field of a section is, by its name.

    Pydantic reads a description from the source of the class that declares the field.

    >>> from experiments.config.optimizer import Adam
    >>> descriptions(Adam)["learning_rate"]
    'peak learning rate of the schedule'
    """
    fields = [vars(base).get("__pydantic_fields__", {}) for base in reversed(cls.__mro__)]
    found = {
        name: info.description for each in fields for name, info in each.items() if info.description
    }
    return {name: found.get(name, "") for name in cls.__pydantic_fields__}  # type: ignore[attr-defined]


def is_config_type(hint: Any) -> bool:
    """Whether a config file has values of a type.

    >>> is_config_type(int | None), is_config_type(tuple[int, ...]), is_config_type(object)
    (True, True, False)
    """
    if hint is Any or hint is object:
        return False
    try:
        TypeAdapter(hint).json_schema()
    except Exception:
        return False
    return True


def documented_fields(cls: type[Any]) -> dict[str, str]:
    """What a class says of its fields: in a section ``Args:``, or in strings below the fields.

    >>> documented_fields(is_config_type)
    {}
    """
    doc = inspect.getdoc(cls) or ""
    section = doc.partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^ {2}(\w+): (.*(?:\n {4}.*)*)", section, re.MULTILINE)
    texts = dict(found)
    if not texts:
        try:
            source = inspect.getsource(cls)
        except (OSError, TypeError):
            source = ""
        below = r'^ {4}(\w+):[^\n]*\n {4}"""((?:[^"]|"(?!""))+)"""$'
        texts = dict(re.findall(below, source, re.MULTILINE))
    return {name: _one_line(text) for name, text in texts.items()}


def type_name(hint: Any) -> str:
    """A type as text, for messages.

    >>> type_name(int), type_name(int | None)
    ('int', 'int | None')
    """
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


def _one_line(text: str) -> str:
    return " ".join(text.replace("`", "").split()).rstrip(".")
