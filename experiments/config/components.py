"""Parts of a config that are chosen by name: a built-in one, or one's own by its import path."""

import importlib
import traceback
from collections.abc import Mapping
from typing import Any

from lstm_jax.did_you_mean import did_you_mean


def find_component(kind: str, name: Any, built_in: Mapping[str, Any]) -> Any:
    """The object that a name in a config selects.

    Args:
      kind: what is named, for messages, such as ``"task"``.
      name: a key of `built_in`, or an import path ``package.module:Name``.
      built_in: the built-in objects by name.

    Returns:
      The object.

    Raises:
      ValueError: if there is none of this name, or its module cannot be imported.

    >>> find_component("task", "lists:Sum", {"adding": 1})
    Traceback (most recent call last):
    ValueError: no module 'lists' in the current folder or in the environment
    >>> find_component("task", "ading", {"adding": 1, "copy": 2})
    Traceback (most recent call last):
    ValueError: must be one of adding, copy, or the import path of a task of your own; got 'ading';\
 did you mean adding?
    """
    if isinstance(name, str) and name in built_in:
        return built_in[name]
    if isinstance(name, str) and ":" in name:
        return import_path(name)
    raise ValueError(
        f"must be one of {', '.join(built_in)}, or the import path of {_a(kind)} of your own;"
        f" got {name!r}{did_you_mean(name, built_in)}"
    )


def import_path(path: str) -> Any:
    """The object at an import path ``package.module:Name``.

    Modules of the current folder are found, as ``python -m`` finds them.

    Raises:
      ValueError: if there is no such module or name, or the module raises an error.

    >>> import_path("math:pi")
    3.141592653589793
    """
    module_name, _, name = path.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".") + name.split(".")):
        raise ValueError(f"an import path is package.module:Name; got {path!r}")
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(_import_failed(module_name, error)) from error
        raise ValueError(
            f"no module {error.name!r} in the current folder or in the environment"
        ) from None
    # The module is the user's own, so that any error may come from it.
    except Exception as error:
        raise ValueError(_import_failed(module_name, error)) from error
    for part in name.split("."):
        if not hasattr(found, part):
            names = [each for each in vars(found) if not each.startswith("_")]
            raise ValueError(f"{module_name} has no {part!r}{did_you_mean(part, names)}")
        found = getattr(found, part)
    return found


def _import_failed(module: str, error: Exception) -> str:
    *_, last = traceback.extract_tb(error.__traceback__)
    path, line = last.filename, last.lineno
    if isinstance(error, SyntaxError):
        path, line = error.filename or path, error.lineno
    return f"{module} cannot be imported: {type(error).__name__}: {error} ({path}, line {line})"


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
