"""Initializers, activations and other functions in a config, written as Python writes a call."""

import ast
import inspect
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from experiments.config.components import import_path
from lstm_jax import initializers
from lstm_jax.cells.cell import Activation
from lstm_jax.did_you_mean import did_you_mean
from lstm_jax.types import Initializer

INITIALIZERS = (initializers, jax.nn.initializers)
ACTIVATIONS = (jax.nn, jnp)


def initializer(text: str) -> Initializer:
    """The initializer that a text names, from `lstm_jax.initializers` or `jax.nn.initializers`.

    Args:
      text: a name, a call with plain values, or either with an import path:
        ``orthogonal_per_gate``, ``Uniform(0.1)``, ``my_project.inits:Diagonal(scale=2)``.

    Returns:
      The initializer.

    Raises:
      ValueError: if there is no such initializer, or it does not take these arguments.

    >>> initializer("Uniform(bound=0.1)")
    Uniform(bound=0.1, terms=1)
    >>> initializer("orthogonal") is initializers.orthogonal
    True
    """
    name, arguments, keywords = _parse(text)
    found = _find(name, INITIALIZERS, "initializer")
    is_call = "(" in text
    # An initializer takes a key and a shape; whatever takes neither makes an initializer.
    if is_call or isinstance(found, type) or "key" not in inspect.signature(found).parameters:
        found = _called(text, found, arguments, keywords)
    if not callable(found):
        raise ValueError(f"{text} is not an initializer, but {type(found).__name__}")
    return found


def activation(text: str) -> Activation:
    """The activation that a text names, from `jax.nn`, `jax.numpy` or an import path.

    Raises:
      ValueError: if there is no such function.

    >>> activation("tanh")(0.0).item()
    0.0
    """
    name, arguments, keywords = _parse(text)
    found = _find(name, ACTIVATIONS, "activation")
    found = _called(text, found, arguments, keywords) if "(" in text else found
    if not callable(found):
        raise ValueError(f"{text} is not an activation, but {type(found).__name__}")
    return found


def _parse(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """The name, and the plain values of its arguments."""
    name, parenthesis, rest = text.partition("(")
    if not parenthesis:
        return name.strip(), [], {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        assert isinstance(call, ast.Call)
        arguments = [ast.literal_eval(each) for each in call.args]
        keywords = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError, AssertionError, RecursionError, MemoryError):
        raise ValueError(
            f"must be a name, or a call with plain values such as Uniform(0.1); got {text!r}"
        ) from None
    return name.strip(), arguments, keywords


def _find(name: str, modules: Sequence[ModuleType], kind: str) -> Any:
    if ":" in name:
        return import_path(name)
    for module in modules:
        found = getattr(module, name, None) if name.isidentifier() else None
        if callable(found):
            return found
    names = [each for module in modules for each in vars(module) if not each.startswith("_")]
    places = " or ".join(module.__name__ for module in modules)
    raise ValueError(f"no {kind} {name!r} in {places}{did_you_mean(name, names)}")


def _called(text: str, function: Any, arguments: list[Any], keywords: dict[str, Any]) -> Any:
    try:
        return function(*arguments, **keywords)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{text}: {str(error).splitlines()[0]}") from None
