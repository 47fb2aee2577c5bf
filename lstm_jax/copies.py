"""Copies of frozen dataclasses that have functions as fields: a copy equals the original.

A plain function is pickled by its name, and a deep copy of it is the function itself. The functions
that JAX compiles or gives a derivative of their own, such as `jax.nn.sigmoid`, are objects: they do
not pickle, and a deep copy of one is another object, which does not equal it.

A `functools.partial` of such functions pickles by its parts. Python compares partials by identity:
a cell with one equals its deep copy, and not its pickle. Lambdas and closures do not pickle.
"""

import copy
import dataclasses
import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any, NamedTuple

PUBLIC = ("jax.nn", "jax.numpy", "jax.lax", "jax.nn.initializers", "jax.scipy.special")
"""Where functions of JAX are looked up first: they may be defined in private modules."""


class Copyable:
    """Base of frozen dataclasses that equal their copies, deep copies and pickles.

    >>> import copy, pickle
    >>> import lstm_jax as lj
    >>> cell = lj.LSTM(3, 5)
    >>> cell == copy.deepcopy(cell) == pickle.loads(pickle.dumps(cell))
    True
    """

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        attributes = {name: _with_names(value) for name, value in vars(self).items()}
        return _rebuilt, (type(self), attributes)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        # What is in the memo is taken as its own copy.
        memo |= {id(function): function for function in _functions(vars(self))}
        copied = object.__new__(type(self))
        copied.__dict__.update(copy.deepcopy(vars(self), memo))
        return copied


class Named(NamedTuple):
    """A function in a pickle, by the name under which it can be imported."""

    module: str
    name: str

    def function(self) -> Any:
        """The function itself."""
        return _looked_up(importlib.import_module(self.module), self.name)


class Parts(NamedTuple):
    """A `functools.partial` in a pickle."""

    function: Any
    args: tuple[Any, ...]
    keywords: dict[str, Any]


def import_name(function: Any) -> Named | None:
    """The name under which a function that is an object can be imported, or None.

    >>> import jax
    >>> import_name(jax.nn.sigmoid)
    Named(module='jax.nn', name='sigmoid')
    """
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    if name is not None:
        for module in (*PUBLIC, getattr(function, "__module__", None)):
            if module in sys.modules and _looked_up(sys.modules[module], name) is function:
                return Named(module, name)
    return None


def _looked_up(module: Any, name: str) -> Any:
    """The object of a qualified name such as ``Class.method`` in a module, or None."""
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _is_function_object(value: Any) -> bool:
    """Whether a value is called like a function, and compared by identity like one."""
    by_python = isinstance(value, type | FunctionType | BuiltinFunctionType)
    return callable(value) and not by_python and not dataclasses.is_dataclass(value)


def _functions(value: Any) -> Iterator[Any]:
    """The functions that are objects in a value, in containers and in dataclasses."""
    if isinstance(value, tuple | list | frozenset):
        for entry in value:
            yield from _functions(entry)
    elif isinstance(value, Mapping):
        yield from _functions([*value.values()])
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _functions(vars(value))
    elif _is_function_object(value):
        yield value


def _with_names(value: Any) -> Any:
    """A value in which names stand for the functions that do not pickle."""
    if type(value) in (tuple, list):
        return type(value)(map(_with_names, value))
    if type(value) is dict:
        return {key: _with_names(entry) for key, entry in value.items()}
    if type(value) is functools.partial:
        return Parts(*map(_with_names, (value.func, value.args, value.keywords)))
    return (import_name(value) or value) if _is_function_object(value) else value


def _with_functions(value: Any) -> Any:
    """The inverse of `_with_names`."""
    if isinstance(value, Named):
        return value.function()
    if isinstance(value, Parts):
        function, args, keywords = map(_with_functions, value)
        return functools.partial(function, *args, **keywords)
    if type(value) in (tuple, list):
        return type(value)(map(_with_functions, value))
    if type(value) is dict:
        return {key: _with_functions(entry) for key, entry in value.items()}
    return value


def _rebuilt(kind: type[Any], attributes: dict[str, Any]) -> Any:
    """An object with these attributes, which were checked when the original was made."""
    rebuilt = object.__new__(kind)
    rebuilt.__dict__.update(_with_functions(attributes))
    return rebuilt
