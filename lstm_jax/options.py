"""The options of `unroll`: declared, documented and checked here, and passed on as one value.

A new option is a field of `Options`, a key of `OptionArgs`, a check in `Options.checked`, and a
parameter of `unroll`. The Flax layers, `tbptt` and `explain` then have it as well.
"""

import dataclasses
import inspect
import operator
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Self, TypedDict, TypeVar, get_args

from lstm_jax.did_you_mean import unknown_arguments

Padding = Literal["zero", "hold", "raw"]
"""The outputs at masked steps."""

Remat = Literal["step"] | int | None
"""What is kept for a gradient: all, or the state of every step or of every k-th step."""

Implementation = Literal["scan", "cpu", "cudnn", "parallel"]
"""The name of a backend."""

PADDINGS: tuple[Padding, ...] = get_args(Padding)
IMPLEMENTATIONS: tuple[Implementation, ...] = get_args(Implementation)

F = TypeVar("F", bound=Callable[..., Any])


class OptionArgs(TypedDict, total=False):
    """The fields of `Options` as keyword arguments, for type checkers and editors."""

    padding: Padding
    remat: Remat
    unroll: int
    implementation: Implementation | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a cell is unrolled over a sequence.

    Attributes:
      padding: the outputs at masked steps: ``"zero"``; ``"hold"``, the last output (before the
        first valid step, that of the initial state); or ``"raw"``, what the cell computes from an
        input of zeros.
      remat: what is kept for a gradient: everything (None), or the state of every step
        (``"step"``) or of every k-th step (``k``); the rest is computed again. With ``k`` near
        sqrt(T), memory grows as sqrt(T). Values never change. Where T is symbolic, as for
        `jax.export`, ``k`` acts as ``"step"``.
      unroll: steps per iteration of the compiled loop; changes the speed, never values.
      implementation: the backend; all of them compute the same numbers. ``"scan"`` runs one step
        after the other and supports everything. ``"cpu"`` and ``"cudnn"`` run whole layers of the
        plain `LSTM` in native code. ``"parallel"`` runs all steps at once, for cells that are
        linear in their state. None selects the best one for the machine. Where a backend does not
        support a call, the scan runs it; `explain` reports which one runs, and why. For a backend
        that is named here, a `UserWarning` gives the reason as well, once for each cell and reason.
    """

    padding: Padding = "zero"
    remat: Remat = None
    unroll: int = 1
    implementation: Implementation | None = None

    def checked(self, function: str) -> Self:
        """The options with Python integers, after a check of every value.

        Args:
          function: the public function to name in errors.

        Returns:
          The same options.

        Raises:
          TypeError: when `unroll` is not an integer.
          ValueError: when an option does not have such a value.

        >>> Options(padding="hold").checked("unroll").padding
        'hold'
        >>> Options(unroll=0).checked("unroll")
        Traceback (most recent call last):
        ValueError: unroll: unroll must be at least 1; got 0
        """
        if self.padding not in PADDINGS:
            raise ValueError(f"{function}: padding must be one of {PADDINGS}; got {self.padding!r}")
        if self.implementation is not None and self.implementation not in IMPLEMENTATIONS:
            raise ValueError(
                f"{function}: implementation must be None or one of {IMPLEMENTATIONS}; got"
                f" {self.implementation!r}"
            )
        try:
            unroll = operator.index(self.unroll)
        except TypeError:
            raise TypeError(f"{function}: unroll must be an integer; got {self.unroll!r}") from None
        if unroll < 1:
            raise ValueError(f"{function}: unroll must be at least 1; got {self.unroll}")
        remat: Any = self.remat
        if not isinstance(remat, bool):
            with suppress(TypeError):  # not a number
                remat = operator.index(remat)
        number = type(remat) is int and remat >= 1
        if not (remat is None or number or (isinstance(remat, str) and remat == "step")):
            raise ValueError(
                f'{function}: remat must be None, "step" or a number of steps of at least 1; got'
                f" {self.remat!r}"
            )
        return dataclasses.replace(self, unroll=unroll, remat=remat)

    @classmethod
    def from_args(cls, function: str, args: Mapping[str, Any]) -> Self:
        """The options of keyword arguments, after a check of their names.

        Args:
          function: the public function to name in errors.
          args: the keyword arguments.

        Returns:
          The options.

        Raises:
          TypeError: when there is no such option.

        >>> Options.from_args("tbptt", {"remaat": 3})
        Traceback (most recent call last):
        TypeError: tbptt: there is no argument remaat; did you mean remat?
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if error := unknown_arguments(function, args, names):
            raise error
        return cls(**args)

    @classmethod
    def of(cls, layer: Any) -> Self:
        """The options that an object has as attributes, such as a layer of linen.

        >>> Options.of(Options(remat=3)).remat
        3
        """
        return cls(**{field.name: getattr(layer, field.name) for field in dataclasses.fields(cls)})


DEFAULTS = Options()
"""The default options."""


def option_fields() -> type[Options]:
    """The fields of `Options` as a base class of a dataclass that is not frozen.

    A linen module is such a dataclass, and Python does not let it derive from a frozen one.

    >>> OptionFields = option_fields()
    >>> [field.name for field in dataclasses.fields(OptionFields)]
    ['padding', 'remat', 'unroll', 'implementation']
    """
    fields = [
        (f.name, f.type, dataclasses.field(default=f.default)) for f in dataclasses.fields(Options)
    ]
    return dataclasses.make_dataclass("OptionFields", fields, kw_only=True, eq=False, repr=False)  # pyright: ignore[reportReturnType]


def takes_keywords_of(source: Callable[..., Any]) -> Callable[[F], F]:
    """Give a function with ``**kwargs`` a signature that lists them, for `help` and notebooks.

    Args:
      source: the function or class whose keyword-only parameters they are.

    Returns:
      A decorator.

    >>> @takes_keywords_of(Options)
    ... def f(x, **options): ...
    >>> str(inspect.signature(f))[:40]
    "(x, *, padding: Literal['zero', 'hold', "
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        params = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        params += [
            p
            for p in inspect.signature(source).parameters.values()
            if p.kind is p.KEYWORD_ONLY and p.name not in signature.parameters
        ]
        function.__signature__ = signature.replace(parameters=params)  # pyright: ignore[reportFunctionMemberAccess]
        return function

    return decorate
