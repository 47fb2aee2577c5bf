"""What it takes to give a function fast ways to run it and its gradient: see `primitives`."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax

from lstm_jax.kernels.primitives import Arrays, Axes, Native, bind_pull_back, bind_run, spread


class Rule(ABC):
    """A function of arrays and fast ways to run it; a hashable value.

    `native` says whether code made for the platform may be called: ``"no"``, ``"here"`` on one
    device, or ``"split"`` over several, along axes whose parts do not depend on each other.

    Attributes:
      platform: the platform that it has code for.
    """

    platform: ClassVar[str] = "cpu"

    @abstractmethod
    def define(self, *args: jax.Array) -> Arrays:
        """The function as plain JAX code that can be differentiated any number of times."""

    @abstractmethod
    def run(self, *args: jax.Array, save: bool, native: Native) -> tuple[Arrays, Arrays]:
        """What the function gives, and what is to be saved for `pull_back`, or nothing."""

    @abstractmethod
    def pull_back(
        self,
        args: Arrays,
        outs: Arrays,
        saved: Arrays,
        cotangents: Sequence[jax.Array | None],
        wanted: tuple[bool, ...],
        *,
        native: Native,
    ) -> Arrays:
        """The gradients of the arguments that are wanted; a cotangent of None is zero."""

    def batched_run(
        self, size: int, args: Arrays, axes: Axes, *, save: bool
    ) -> tuple[Arrays, Sequence[int]]:
        """`run` mapped over an axis of some arguments, and where outputs and saved have it."""
        out = bind_run(Mapped(self, size, axes), args, save=save)
        return out, [0] * len(out)

    def batched_pull_back(
        self,
        size: int,
        operands: tuple[Arrays, Arrays, Arrays, Arrays],
        axes: tuple[Axes, Axes, Axes, Axes],
        given: tuple[bool, ...],
        wanted: tuple[bool, ...],
    ) -> tuple[Arrays, Sequence[int]]:
        """`pull_back` mapped over an axis of arguments, outputs, saved arrays or cotangents."""
        rule = Mapped(self, size, axes[0], axes[1:])
        out = bind_pull_back(rule, operands, given, wanted)
        return out, [0] * len(out)


@dataclass(frozen=True)
class Mapped(Rule):
    """A rule mapped over an axis.

    Args:
      rule: the rule.
      size: length of the axis.
      axes: where the arguments have it.
      others: for `pull_back`, where outputs, saved arrays and given cotangents have it.
    """

    rule: Rule
    size: int
    axes: Axes
    others: tuple[Axes, Axes, Axes] = ((), (), ())

    def define(self, *args: jax.Array) -> Arrays:
        """The function, mapped."""
        return jax.vmap(self.rule.define, self.axes, axis_size=self.size)(*args)

    def run(self, *args: jax.Array, save: bool, native: Native) -> tuple[Arrays, Arrays]:
        """The fast form, mapped."""
        run = functools.partial(self.rule.run, save=save, native=native)
        return jax.vmap(run, self.axes, axis_size=self.size)(*args)

    def pull_back(
        self,
        args: Arrays,
        outs: Arrays,
        saved: Arrays,
        cotangents: Sequence[jax.Array | None],
        wanted: tuple[bool, ...],
        *,
        native: Native,
    ) -> Arrays:
        """The fast backward pass, mapped."""
        given = tuple(v is not None for v in cotangents)

        def pull_back(args: Arrays, outs: Arrays, saved: Arrays, some: Arrays) -> Arrays:
            all_of_them = spread(given, some)
            return self.rule.pull_back(args, outs, saved, all_of_them, wanted, native=native)

        mapped = jax.vmap(pull_back, (self.axes, *self.others), axis_size=self.size)
        return mapped(args, outs, saved, tuple(v for v in cotangents if v is not None))


def call(rule: Rule, *args: jax.Array) -> Arrays:
    """Run a rule: ``f(a)``."""
    return bind_run(rule, args, save=False)
