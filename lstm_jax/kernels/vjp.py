"""Gradients of functions of lists in which not everything has one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.kernels.primitives import filled, spread


def vjp(f: Callable[..., tuple[list[Any], ...]], *lists: list[Any]) -> tuple[Any, Any]:
    """`jax.vjp` for lists in which not everything can be differentiated: keys, flags, None.

    Args:
      f: a function of lists that returns lists.
      *lists: its arguments.

    Returns:
      What it returns, and a function from cotangents, where None is zero, to gradients of `lists`,
      where None is that of what cannot be differentiated.

    >>> (y,), back = vjp(lambda xs: ([xs[0] * xs[1]],), [jnp.ones(()), jnp.asarray(3)])
    >>> [float(g) if g is not None else None for g in back([jnp.ones(())])[0]]
    [3.0, None]
    """
    moves = [[can_move(a) for a in arrays] for arrays in lists]
    moving = [[a for a in arrays if can_move(a)] for arrays in lists]

    def of_moving(moving: list[list[Any]]) -> tuple[Any, Any]:
        mixed = [
            [a if b is None else b for a, b in zip(arrays, spread(where, some), strict=True)]
            for arrays, where, some in zip(lists, moves, moving, strict=True)
        ]
        outs = f(*mixed)
        return [[a for a in arrays if can_move(a)] for arrays in outs], outs

    floats, pull_back, outs = jax.vjp(of_moving, moving, has_aux=True)

    def back(*cotangents: list[Any]) -> list[list[Any]]:
        given = [
            [v for a, v in zip(arrays, vs, strict=True) if can_move(a)]
            for arrays, vs in zip(outs, cotangents, strict=True)
        ]
        (gradients,) = pull_back(list(map(filled, given, floats)))
        return [spread(where, some) for where, some in zip(moves, gradients, strict=True)]

    return outs, back


def can_move(array: Any) -> bool:
    """Whether there is a gradient of it."""
    return array is not None and jnp.issubdtype(array.dtype, jnp.inexact)


def plus(a: Any, b: Any) -> Any:
    """A sum in which None is zero."""
    if a is None or b is None:
        return b if a is None else a
    return a + b


def sums(a: list[Any], b: list[Any]) -> list[Any]:
    """Sums of lists."""
    return list(map(plus, a, b))
