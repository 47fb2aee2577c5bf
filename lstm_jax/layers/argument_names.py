"""Arguments of layers by the names of other libraries: an error says which one was meant."""

import functools
import inspect
from collections.abc import Iterable
from typing import Any

from lstm_jax.did_you_mean import unknown_arguments

INPUT_SIZES = ("in_features", "input_size", "input_dim")
"""Names of the number of input features."""


def check_names(function: str, given: Iterable[str], valid: Iterable[str]) -> None:
    """Raise unless all names are arguments of a layer.

    Args:
      function: the layer to name in errors.
      given: names of keyword arguments.
      valid: the names of the layer's arguments.

    Raises:
      TypeError: when a name is none of them; the message says what was probably meant.

    >>> check_names("LSTM", ["hidden_features"], ["features", "num_layers"])
    Traceback (most recent call last):
    TypeError: LSTM: there is no argument hidden_features; did you mean features?
    """
    given, valid = list(given), list(valid)
    for name in given:
        if name in INPUT_SIZES and "in_features" not in valid:
            raise TypeError(
                f"{function}: there is no argument {name}: the number of input features is that of"
                " the inputs"
            )
    if error := unknown_arguments(function, given, valid):
        raise error


def with_checked_names(cls: type[Any]) -> None:
    """Let the constructor of a class report unknown, too many and missing arguments.

    >>> class Layer:
    ...     def __init__(self, features): ...
    >>> with_checked_names(Layer)
    >>> Layer(units=5)
    Traceback (most recent call last):
    TypeError: Layer: there is no argument units; did you mean features?
    >>> Layer()
    Traceback (most recent call last):
    TypeError: Layer: the argument features is missing
    """
    init = vars(cls).get("__init__")
    if init is None:
        return
    _, *parameters = inspect.signature(init).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return  # it passes them on
    names = [p.name for p in parameters]
    required = [p.name for p in parameters if p.default is p.empty]
    # `parent` and `name` of a linen module come last, and only by name.
    by_place = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    by_place = [name for name in by_place if name not in ("parent", "name")]

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        function = type(self).__name__
        check_names(function, kwargs, names)
        if len(args) > len(by_place):
            raise TypeError(
                f"{function}: only {', '.join(by_place) or 'no argument'} may be given by position;"
                f" got {args}"
            )
        missing = [name for name in required if name not in {*by_place[: len(args)], *kwargs}]
        if missing:
            each = f"argument {missing[0]} is" if len(missing) == 1 else "arguments {} are"
            raise TypeError(f"{function}: the {each.format(', '.join(missing))} missing")
        init(self, *args, **kwargs)

    cls.__init__ = checked
