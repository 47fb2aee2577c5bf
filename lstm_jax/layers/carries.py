"""Carries as Flax's code has them: plain tuples and bare arrays, in either order of h and c.

A cell's state is a NamedTuple such as ``LSTMState(h, c)``. Flax's cells have the plain pair
``(c, h)``, or an array where a cell has one field. A state that names its fields is read by these
names; `CarryOrder` decides about plain pairs alone.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax

from lstm_jax.containers import in_containers_of
from lstm_jax.did_you_mean import did_you_mean
from lstm_jax.transforms.transform import AnyCell, initial_state
from lstm_jax.types import LSTMState, PyTree

CarryOrder = Literal["hc", "ch"]
"""The order of a plain pair: ``(h, c)``, or ``(c, h)`` as in Flax."""

CARRY_ORDERS: tuple[CarryOrder, ...] = get_args(CarryOrder)

PAIR = LSTMState._fields


def check_carry_order(function: str, order: Any) -> None:
    """Raise unless `order` is an order of a pair.

    >>> check_carry_order("LSTM", "cc")
    Traceback (most recent call last):
    ValueError: LSTM: carry_order must be 'hc' or 'ch'; got 'cc'; did you mean 'hc'?
    """
    if order not in CARRY_ORDERS:
        hint = did_you_mean(order, CARRY_ORDERS, quoted=True, cutoff=0.5)
        raise ValueError(f"{function}: carry_order must be 'hc' or 'ch'; got {order!r}{hint}")


def state_like(cell: AnyCell) -> PyTree:
    """The shapes of a cell's state, without batch axes.

    >>> import lstm_jax as lj
    >>> state_like(lj.LSTM(3, 5)).h.shape
    (5,)
    """
    return jax.eval_shape(lambda: initial_state(cell, None, ()))


def state_of(like: PyTree, carry: PyTree, order: CarryOrder) -> PyTree:
    """The state of a cell from a carry in any of its forms.

    Args:
      like: a state of the cell, or its shapes.
      carry: a state with named fields, mappings or plain tuples in its place, or a bare array in
        place of a state with one field.
      order: the order of plain pairs.

    Returns:
      The state, with the types of `like`; what does not fit is returned as it is.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> h, c = jnp.zeros(5), jnp.ones(5)
    >>> like = lj.LSTM(3, 5).initial_state()
    >>> state = state_of(like, (c, h), "ch")
    >>> state.c.tolist() == state_of(like, state, "ch").c.tolist() == [1.0] * 5
    True
    >>> state_of(lj.GRU(3, 5).initial_state(), c, "hc").h.tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    return in_containers_of(like, _in_order(like, carry, order))


def carry_like(state: PyTree, carry: PyTree, order: CarryOrder) -> PyTree:
    """A state in the form of a carry: the inverse of `state_of`.

    Args:
      state: a state of the cell.
      carry: the carry whose form is wanted, as it was given.
      order: the order of plain pairs.

    Returns:
      The leaves of `state` in the structure of `carry`.

    >>> import lstm_jax as lj
    >>> state = lj.LSTMState(h=1, c=2)
    >>> carry_like(state, (0, 0), "ch"), carry_like(state, [0, 0], "hc")
    ((2, 1), [1, 2])
    >>> carry_like(state, state, "ch")
    LSTMState(h=1, c=2)
    """
    if not isinstance(carry, tuple | list):
        return state[0] if isinstance(state, tuple) and len(state) == 1 else state
    if not isinstance(state, tuple) or len(carry) != len(state):
        return state
    if not _is_single(state):
        parts = zip(state, carry, strict=True)
        return _made(type(carry), (carry_like(each, part, order) for each, part in parts))
    names = _names(carry)
    if names and set(names) == set(_names(state)):
        return _made(type(carry), (getattr(state, name) for name in names))
    swapped = not names and _is_swapped(state, order)
    return _made(type(carry), reversed(state) if swapped else state)


def plain_carry(state: PyTree, order: CarryOrder) -> PyTree:
    """A state as plain tuples, and as a bare array where it has one field.

    >>> import lstm_jax as lj
    >>> plain_carry((lj.LSTMState(h=1, c=2), lj.GRUState(3)), "ch")
    ((2, 1), 3)
    """
    if not isinstance(state, tuple):
        return state
    if not _is_single(state):
        return _made(type(state), (plain_carry(part, order) for part in state))
    if len(state) == 1:
        return state[0]
    return tuple(reversed(state) if _is_swapped(state, order) else state)


def layer_carry(state: PyTree, carry: PyTree, order: CarryOrder) -> PyTree:
    """The final state of a layer in the form that its caller reads.

    Args:
      state: the final state.
      carry: the initial carry that the layer was given, or None.
      order: the order of plain pairs.

    Returns:
      The state with its own types, but an array where an array was given, and with the order
      ``"ch"`` a plain pair ``(c, h)`` unless a state with named fields was given.

    >>> import lstm_jax as lj
    >>> state = lj.LSTMState(h=1, c=2)
    >>> layer_carry(state, (0, 0), "hc"), layer_carry(state, None, "ch")
    (LSTMState(h=1, c=2), (2, 1))
    >>> layer_carry(lj.GRUState(3), 0, "hc"), layer_carry(lj.GRUState(3), None, "hc")
    (3, GRUState(h=3))
    """
    given = isinstance(carry, tuple | list)
    if _is_single(state):
        if carry is not None and not given:
            return state[0] if len(state) == 1 else state
        named = given and _names(carry)
        return tuple(reversed(state)) if _is_swapped(state, order) and not named else state
    if not isinstance(state, tuple):
        return state
    parts = carry if given and len(carry) == len(state) else (None,) * len(state)
    pairs = zip(state, parts, strict=True)
    return _made(type(state), (layer_carry(each, part, order) for each, part in pairs))


def _in_order(like: PyTree, carry: PyTree, order: CarryOrder) -> PyTree:
    """A carry in which every pair is in the order of the cell's fields."""
    if isinstance(carry, Mapping) and not _is_single(like):
        names = _names(like) or [f"layers_{k}" for k in range(len(like))]
        parts = zip(names, like, strict=True)
        known = {name: _in_order(each, carry[name], order) for name, each in parts if name in carry}
        return {**carry, **known}
    if not isinstance(carry, tuple | list) or len(carry) != len(like):
        return carry
    if not _is_single(like):
        pairs = zip(like, carry, strict=True)
        return tuple(_in_order(each, part, order) for each, part in pairs)
    if set(_names(carry)) == set(_names(like)):
        return (
            type(like)(*(getattr(carry, name) for name in _names(like))) if _names(like) else carry
        )
    return tuple(reversed(carry)) if _is_swapped(like, order) and not _names(carry) else carry


def _is_swapped(state: PyTree, order: CarryOrder) -> bool:
    """Whether a plain tuple in place of this state is in the opposite order."""
    return order == "ch" and _names(state) == PAIR


def _is_single(state: PyTree) -> bool:
    """Whether it is the state of one cell: a tuple of arrays."""
    return isinstance(state, tuple) and bool(state) and all(map(_is_leaf, state))


def _is_leaf(part: Any) -> bool:
    return part is not None and not isinstance(part, tuple | list | dict)


def _names(state: Any) -> tuple[str, ...]:
    """The names of the fields; none of a plain tuple or list."""
    return getattr(state, "_fields", ())


def _made(kind: type, parts: Any) -> Any:
    """A tuple, a list or a NamedTuple of these parts."""
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
