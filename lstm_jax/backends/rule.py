"""A function with a native forward and backward pass: see `primitives`."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lstm_jax.backends.lowering import Native
from lstm_jax.backends.primitives import (
    Arrays,
    Axes,
    BackwardOperands,
    bind_backward,
    bind_forward,
    reference_gradients,
    spread,
)

Mask = tuple[bool, ...]
Types = Sequence[Any]
"""Shapes and dtypes of arrays, such as `jax.ShapeDtypeStruct`."""


class Rule(ABC):
    """A function of arrays, with a forward and a backward pass of its own; a hashable value.

    Arguments that are differentiated, and all outputs, are floating point. `native` is whether
    code for the platform may be called: ``"no"``, ``"here"`` on one device, or ``"split"`` over
    several, along axes whose parts do not depend on each other.

    Attributes:
      platform: the platform that it has native code for.
    """

    platform: ClassVar[str] = "cpu"

    @abstractmethod
    def reference(self, *args: jax.Array) -> Arrays:
        """The function in plain JAX, which can be differentiated any number of times."""

    @abstractmethod
    def forward(self, *args: jax.Array, save: bool, native: Native) -> tuple[Arrays, Arrays]:
        """The outputs, and what `backward` needs saved if `save`, else nothing.

        Where `native` is ``"no"`` this is plain JAX as well.
        """

    @abstractmethod
    def backward(
        self,
        args: Arrays,
        outs: Arrays,
        saved: Arrays,
        cotangents: Sequence[jax.Array | None],
        needed: tuple[bool, ...],
        *,
        native: Native,
    ) -> Arrays:
        """The gradients of the arguments that are needed; a cotangent of None is zero."""

    def out_types(self, *args: Any) -> Types:
        """Types of the outputs, from those of the arguments; this default traces `reference`."""
        return jax.eval_shape(self.reference, *map(_struct, args))

    def saved_types(self, *args: Any) -> Types:
        """Types of what `forward` saves; this default traces it."""
        forward = functools.partial(self.forward, save=True, native="no")
        return jax.eval_shape(forward, *map(_struct, args))[1]

    def batched_forward(
        self, size: int, args: Arrays, axes: Axes, *, save: bool
    ) -> tuple[Arrays, Sequence[int | None]]:
        """`forward` under `vmap`; this default maps the plain JAX code.

        Args:
          size: length of the mapped axis.
          args: arguments.
          axes: where they have the mapped axis, or None.
          save: whether `backward` follows.

        Returns:
          Outputs and saved arrays, and where they have the mapped axis.
        """
        forward = functools.partial(self.forward, save=save, native="no")
        outs, saved = jax.vmap(forward, axes, axis_size=size)(*args)
        return (*outs, *saved), [0] * (len(outs) + len(saved))

    def batched_backward(
        self,
        size: int,
        operands: BackwardOperands,
        axes: BackwardOperands,
        given: Mask,
        needed: Mask,
    ) -> tuple[Arrays, Sequence[int | None]]:
        """`backward` under `vmap`; this default maps the plain JAX code.

        Args:
          size: length of the mapped axis.
          operands: what `backward` reads.
          axes: where these arrays have the mapped axis, or None.
          given: which outputs have a cotangent.
          needed: of which arguments the gradient is needed.

        Returns:
          Gradients, and where they have the mapped axis; all have it.
        """
        if any(axis is not None for some in axes[:3] for axis in some):
            return self.mapped_backward(size, operands, axes, given, needed)
        # Many gradients of one forward pass: one after the other, so that nothing is copied.
        back = jax.lax.map(
            lambda some: bind_backward(self, operands._replace(cotangents=some), given, needed),
            in_front(size, operands.cotangents, axes.cotangents),
        )
        return back, [0] * len(back)

    def mapped_backward(
        self,
        size: int,
        operands: BackwardOperands,
        axes: BackwardOperands,
        given: Mask,
        needed: Mask,
    ) -> tuple[Arrays, Sequence[int | None]]:
        """`batched_backward` of many forward passes."""

        def backward(args: Arrays, cotangents: Arrays) -> Arrays:
            return reference_gradients(self, args, spread(given, cotangents), needed)

        mapped = jax.vmap(backward, (axes.args, axes.cotangents), axis_size=size)
        back = mapped(operands.args, operands.cotangents)
        return back, [0] * len(back)


def call(rule: Rule, *args: jax.Array) -> Arrays:
    """The function of a rule: ``f(a)``."""
    return bind_forward(rule, args, save=False)


def in_front(size: int, arrays: Sequence[jax.Array], axes: Sequence[int | None]) -> Arrays:
    """Arrays with the mapped axis first, repeated where they have none.

    Args:
      size: length of the mapped axis.
      arrays: arrays.
      axes: where they have it, or None.

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


def _struct(aval: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)
