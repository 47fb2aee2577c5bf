"""Initializers and activations in a config, written as Python writes a name or a call."""

import ast
import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, cast

import jax
import jax.numpy as jnp
from pydantic import AfterValidator

from experiments.config.components import import_path, short, short_text, where
from lstm_jax import initializers
from lstm_jax.cells import original
from lstm_jax.cells.cell import Activation
from lstm_jax.did_you_mean import did_you_mean
from lstm_jax.types import Initializer


def _public(*modules: Any) -> dict[str, Any]:
    """The functions and classes of modules; the first module has precedence."""
    found: dict[str, Any] = {}
    for module in reversed(modules):
        names = {name: each for name, each in vars(module).items() if not name.startswith("_")}
        found |= {name: each for name, each in names.items() if callable(each)}
    return found


INITIALIZERS = _public(initializers, jax.nn.initializers)
"""The initializers, and the functions and classes that make one, by their names in a config."""

ACTIVATIONS: dict[str, Activation] = {
    **{
        name: getattr(jax.nn, name)
        for name in (
            *("celu", "elu", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh"),
            *("identity", "leaky_relu"),
            *("log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign"),
            *("softplus", "sparse_plus", "sparse_sigmoid", "squareplus"),
        )
    },
    **{name: getattr(jnp, name) for name in ("cos", "sin", "tanh")},
    "squash_g": original.squash_g,
    "squash_h": original.squash_h,
}
"""The activations by their names in a config."""


@functools.cache
def initializer(text: str) -> Initializer:
    """The initializer that a text names, from `lstm_jax.initializers` or `jax.nn.initializers`.

    Args:
      text: a name, a call with plain values, or either with an import path; only a class of one's
        own that is a frozen dataclass is called: ``orthogonal_per_gate``, ``Uniform(0.1)``,
        ``my_project.inits:Diagonal(scale=2)``.

    Returns:
      The initializer.

    Raises:
      ValueError: if there is no such initializer, or it does not take these arguments.

    >>> initializer("Uniform(bound=0.1)")
    Uniform(bound=0.1, terms=1)
    >>> initializer("orthogonal") is initializers.orthogonal
    True
    """
    name, arguments = _parse(text)
    found = _find(name, INITIALIZERS, "initializer")
    # An initializer takes a key and a shape; whatever takes neither makes an initializer.
    makes_one = isinstance(found, type) or "key" not in _parameters(found)
    if arguments is not None or (makes_one and ":" not in name) or isinstance(found, type):
        found = _called(text, found, *(arguments or ((), {})))
    if not callable(found):
        raise ValueError(f"{short_text(text)} is not an initializer, but {type(found).__name__}")
    return cast(Initializer, found)


@functools.cache
def activation(text: str) -> Activation:
    """The activation that a text names.

    Args:
      text: a name of `ACTIVATIONS`, or the import path of a function of an array, or of a frozen
        dataclass with a method ``__call__``, with its fields: ``my_project.functions:Sine(2.0)``.

    Raises:
      ValueError: if there is no such function.

    >>> activation("tanh")(0.0).item()
    0.0
    """
    name, arguments = _parse(text)
    found = _find(name, ACTIVATIONS, "activation")
    if arguments is not None or isinstance(found, type):
        found = _called(text, found, *(arguments or ((), {})))
    if not callable(found):
        raise ValueError(f"{short_text(text)} is not an activation, but {type(found).__name__}")
    return cast(Activation, found)


def _checked_by(make: Callable[[str], Any]) -> AfterValidator:
    """The check of a text by what makes a function of it."""

    def check(text: str) -> str:
        make(text)
        return text

    return AfterValidator(check)


InitializerText = Annotated[str, _checked_by(initializer)]
"""A field of a config that names an initializer."""
ActivationText = Annotated[str, _checked_by(activation)]
"""A field of a config that names an activation."""


def _parse(text: str) -> tuple[str, tuple[list[Any], dict[str, Any]] | None]:
    """The name, and the plain values of its arguments, or None without parentheses."""
    name, parenthesis, rest = text.partition("(")
    if not parenthesis:
        return name.strip(), None
    try:
        if len(text) > 1000:
            raise ValueError("too long to be a call")
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("not a single call")
        arguments = [ast.literal_eval(each) for each in call.args]
        keywords = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise ValueError(
            f"must be a name, or a call with plain values such as Uniform(0.1); got {short(text)}"
        ) from None
    return name.strip(), (arguments, keywords)


def _find(name: str, built_in: Mapping[str, Any], kind: str) -> Any:
    if ":" in name:
        return import_path(name)
    if name in built_in:
        return built_in[name]
    hint = did_you_mean(name[:50], built_in)
    raise ValueError(f"there is no {kind} {short(name)}{hint}")


def _called(text: str, function: Any, arguments: Any, keywords: Any) -> Any:
    # A config names what is computed; it must not call any function that is installed.
    if ":" in text.partition("(")[0] and not _is_frozen_dataclass(function):
        raise ValueError(f"{short_text(text)}: only a frozen dataclass of your own can be called")
    try:
        return function(*arguments, **keywords)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{short_text(text)}: {short_text(str(error), 100)}") from None
    except Exception as error:
        raise ValueError(f"{short_text(text)}: {where(error)}") from None


def _is_frozen_dataclass(kind: Any) -> bool:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind) and frozen(kind)


def frozen(kind: Any) -> bool:
    """Whether a dataclass is frozen."""
    return kind.__dataclass_params__.frozen


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
