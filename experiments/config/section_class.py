"""Classes of config sections whose fields are known only when a component has been found."""

from collections.abc import Iterable
from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

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
      **namespace: methods.

    Returns:
      The class.
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
    made: Any = dataclass(frozen=True, config=STRICT, kw_only=True)(type(name, (base,), body))
    # Pydantic reads descriptions from the source, which this class does not have.
    for field, info in base.__pydantic_fields__.items():
        made.__pydantic_fields__[field].description = (
            made.__pydantic_fields__[field].description or info.description
        )
    return made
