"""What it takes to give a function fast ways to run it and its gradient: see `primitives`."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from lstm_jax.backends.primitives import Arrays, Axes, Native, bind_pull_back, bind_run, spread

PullBackOperands = tuple[Arrays, Arrays, Arrays, Arrays]
"""Of `Rule.pull_back`: arguments, outputs, saved arrays, and the cotangents that are given."""

OperandAxes = tuple[Axes, Axes, Axes, Axes]
Given = tuple[bool, ...]


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
    ) -> tuple[Arrays, Sequence[int | None]]:
        """`run` mapped over an axis of some arguments, and where outputs and saved have it."""
        out = bind_run(Mapped(self, size, axes), args, save=save)
        return out, [0] * len(out)

    def batched_pull_back(
        self, size: int, operands: PullBackOperands, axes: OperandAxes, given: Given, wanted: Given
    ) -> tuple[Arrays, Sequence[int | None]]:
        """`pull_back` mapped over an axis of some operands: arguments, outputs, saved, cotangents.

        Gradients have the axis even of arguments that do not.
        """
        if any(axis is not None for some in axes[:3] for axis in some):
            return self.mapped_pull_back(size, operands, axes, given, wanted)
        # Many gradients of one run, one after the other: nothing that was saved is copied.
        moved = in_front(size, operands[3], axes[3])
        back = jax.lax.map(
            lambda some: bind_pull_back(self, (*operands[:3], some), given, wanted), moved
        )
        return back, [0] * len(back)

    def mapped_pull_back(
        self, size: int, operands: PullBackOperands, axes: OperandAxes, given: Given, wanted: Given
    ) -> tuple[Arrays, Sequence[int | None]]:
        """`batched_pull_back` of many runs."""
        args = in_front(size, operands[0], axes[0])
        rule = Mapped(self, size, (0,) * len(args), axes[1:])
        back = bind_pull_back(rule, (args, *operands[1:]), given, wanted)
        return back, [0] * len(back)


@dataclass(frozen=True)
class Mapped(Rule):
    """A rule mapped over an axis.

    Args:
      rule: the rule.
      size: length of the axis.
      axes: where the arguments have it.
      others: for `pull_back`, where outputs, saved arrays and given cotangents have it.
    """

    platform: ClassVar[str] = ""  # code made for one is not known to be right for many

    rule: Rule
    size: int
    axes: Axes
    others: tuple[Axes, Axes, Axes] | tuple[()] = ()

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

        # What a run gives has the axis in front.
        others = self.others or ((0,) * len(outs), (0,) * len(saved), (0,) * sum(given))
        mapped = jax.vmap(pull_back, (self.axes, *others), axis_size=self.size)
        back = mapped(args, outs, saved, tuple(v for v in cotangents if v is not None))
        of_wanted = [axis for axis, want in zip(self.axes, wanted, strict=True) if want]
        # The gradient of what is shared is a sum.
        return tuple(
            g.sum(0) if axis is None else jnp.moveaxis(g, 0, axis)
            for g, axis in zip(back, of_wanted, strict=True)
        )


def call(rule: Rule, *args: jax.Array) -> Arrays:
    """Run a rule: ``f(a)``."""
    return bind_run(rule, args, save=False)


def in_front(size: int, arrays: Sequence[jax.Array], axes: Sequence[int | None]) -> Arrays:
    """Arrays with a mapped axis first, repeated where they have none.

    Args:
      size: length of the axis.
      arrays: arrays.
      axes: where they have the axis, or None.

    Returns:
      Arrays ``[size, ...]``.

    >>> a, b = in_front(2, [jnp.zeros((3, 2)), jnp.ones(5)], [1, None])
    >>> a.shape, b.shape
    ((2, 3), (2, 5))
    """
    return tuple(
        jnp.broadcast_to(array, (size, *array.shape))
        if axis is None
        else jnp.moveaxis(array, axis, 0)
        for array, axis in zip(arrays, axes, strict=True)
    )
