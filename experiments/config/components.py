"""Parts of a config that are chosen by name: a built-in one, or one's own by its import path."""

import contextlib
import importlib
import sys
import sysconfig
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_jax.did_you_mean import did_you_mean

ROOT = Path(__file__).parents[2]
NOT_ONES_OWN = (
    "<",
    *(sysconfig.get_paths()[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")),
    *(str(ROOT / package) for package in ("experiments", "lstm_jax")),
)
"""How paths of files begin that are not the user's own."""


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
    ValueError: must be adding, copy, or an import path such as my_tasks:Mine; got 'ading';\
 did you mean adding?
    """
    if isinstance(name, str) and name in built_in:
        return built_in[name]
    if isinstance(name, str) and ":" in name:
        return import_path(name)
    raise ValueError(
        f"must be {_names(built_in)} or an import path such as my_{kind}s:Mine;"
        f" got {short(name)}{did_you_mean(str(name)[:50], built_in)}"
    )


def _names(built_in: Mapping[str, Any]) -> str:
    """The names, as far as they fit on a line."""
    names = ", ".join(built_in)
    return f"{names}," if len(names) < 50 else f"{', '.join([*built_in][:3])}, ... (see --help),"


def import_path(path: str) -> Any:
    """The object at an import path ``package.module:Name``.

    Modules of the current folder are found, as ``python -m`` finds them. Those of Python itself
    are refused: they have nothing for a config, and some act when they are imported.

    Raises:
      ValueError: if there is no such module or name, or the module raises an error.

    >>> import_path("optax:adabelief").__name__
    'adabelief'
    >>> import_path("optax:adabelif")
    Traceback (most recent call last):
    ValueError: optax has no 'adabelif'; did you mean adabelief?
    >>> import_path("os:system")
    Traceback (most recent call last):
    ValueError: os is a module of Python itself, not one of your own
    """
    module_name, _, name = path.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".") + name.split(".")):
        raise ValueError(f"an import path is package.module:Name; got {short(path)}")
    if module_name.partition(".")[0] in sys.stdlib_module_names:
        raise ValueError(
            f"{short_text(module_name)} is a module of Python itself, not one of your own"
        )
    found = _import(module_name)
    for part in name.split("."):
        if not hasattr(found, part):
            names = [each for each in vars(found) if not each.startswith("_")]
            hint = did_you_mean(part[:50], names)
            raise ValueError(f"{short_text(module_name)} has no {short(part)}{hint}")
        found = getattr(found, part)
    return found


def _import(name: str) -> Any:
    here = str(Path.cwd())
    if "" not in sys.path and here not in sys.path:
        # An installed command does not have the current folder on its path.
        sys.path.append(here)
    # The file may have been written a moment ago, in a notebook.
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ValueError(f"{name} cannot be imported: {where(error)}") from error
        raise ValueError(
            f"no module {short(error.name)} in the current folder or in the environment"
        ) from None
    # The module is the user's own, so that any error may come from it, also that it exits.
    except (Exception, SystemExit) as error:
        raise ValueError(f"{short_text(name)} cannot be imported: {where(error)}") from error


def where(error: BaseException) -> str:
    """An error of the user's own code, with the place where it was raised.

    >>> try: 1 / 0
    ... except ZeroDivisionError as error: print(where(error).partition(" (")[0])
    ZeroDivisionError: division by zero
    """
    frames = traceback.extract_tb(error.__traceback__)
    path, line = (frames[-1].filename, frames[-1].lineno) if frames else ("", None)
    if isinstance(error, SyntaxError):
        path, line = error.filename or path, error.lineno
    elif frames:
        own = [frame for frame in frames if not frame.filename.startswith(NOT_ONES_OWN)]
        path, line = (own[-1].filename, own[-1].lineno) if own else (path, line)
    message = (str(error).splitlines() or [""])[0]
    if isinstance(error, SyntaxError) and error.msg:
        message = error.msg
    return f"{type(error).__name__}: {short_text(message)} ({_short_path(path)}, line {line})"


def _short_path(path: str, width: int = 45) -> str:
    """A path from the current folder, or the end of it where it is long."""
    with contextlib.suppress(ValueError):
        path = str(Path(path).relative_to(Path.cwd()))
    return path if len(path) <= width else f"...{path[3 - width :]}"


def short(value: Any) -> str:
    """A value in a message, cut where it is long.

    >>> short("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'"
    """
    if isinstance(value, str):
        # A text of many thousands of characters is not written out to be cut.
        value = value[:100]
    text = repr(value)
    return text if len(text) <= 42 else f"{text[:37]}...{text[-1]}"


def short_text(text: str, width: int = 60) -> str:
    """A text in a message without quotes: one line of printable characters, cut where it is long.

    >>> short_text("a" * 100), short_text("a\\tb")
    ('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...', 'a\\\\tb')
    """
    text = text[: width + 1]
    if not text.isprintable():
        text = repr(text)[1:-1]
    return text if len(text) <= width else f"{text[: width - 3]}..."
