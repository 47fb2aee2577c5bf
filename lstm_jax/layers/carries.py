"""Carries as Flax's code has them: plain tuples and bare arrays, in either order of h and c.

A cell's state is a NamedTuple such as ``LSTMState(h, c)``. Flax's cells have the plain pair
``(c, h)``, or an array where a cell has one field. A carry with the names of the fields, a
NamedTuple or a mapping, is read by these names; every other one by position, and `CarryOrder`
decides about pairs.
"""

from collections.abc import Callable
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


def check_no_pair(function: str, like: PyTree, carry: PyTree) -> None:
    """Raise where a carry has a pair without names for a state ``(h, c)``.

    Both arrays have one shape: if they were swapped, nothing else would tell.

    Args:
      function: the public function to name in errors.
      like: a state of the cell, or its shapes.
      carry: the carry.

    Raises:
      TypeError: when there is one.

    >>> check_no_pair("LSTM", LSTMState(h=1, c=2), (1, 2))
    Traceback (most recent call last):
    TypeError: LSTM: initial_carry is a plain pair; give LSTMState(h=..., c=...), or say its order:\
 carry_order='hc' for (h, c), 'ch' for Flax's (c, h)
    """

    def check(like: Any, given: Any) -> None:
        is_pair = _names(like) == PAIR and isinstance(given, tuple | list) and len(given) == 2
        if is_pair and set(_names(given)) != set(PAIR):
            has = "is" if given is carry else "has"
            what = f"a {type(given).__name__}" if _names(given) else "a plain pair"
            raise TypeError(
                f"{function}: initial_carry {has} {what}; give LSTMState(h=..., c=...), or say its"
                " order: carry_order='hc' for (h, c), 'ch' for Flax's (c, h)"
            )

    _map_states(check, like, carry)


def check_parts(function: str, like: PyTree, carry: PyTree, name: str = "initial_carry") -> None:
    """Raise where a carry has not as many arrays as the state of a cell.

    >>> check_parts("LSTM", LSTMState(h=1, c=2), (1,))
    Traceback (most recent call last):
    TypeError: LSTM: initial_carry must be LSTMState(h, c); got 1 array in a tuple
    """
    arrays, given = len(jax.tree.leaves(like)), len(jax.tree.leaves(carry))
    if arrays != given:
        fields, kind = ", ".join(_names(like)), type(like).__name__
        wanted = (
            f"{kind}({fields})" if fields and _is_single(like) else f"a state of {arrays} arrays"
        )
        got = f"{given} array{'s' * (given != 1)} in a {type(carry).__name__}"
        got = "an array" if jax.tree_util.all_leaves([carry]) else got
        raise TypeError(f"{function}: {name} must be {wanted}; got {got}")


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
      carry: a state with named fields, mappings or tuples in its place, or a bare array in place of
        a state with one field.
      order: the order of pairs without the names of the fields.

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

    def one(like: Any, given: Any) -> Any:
        names = _names(given)
        if names and set(names) == set(_names(like)):
            given = dict(zip(names, given, strict=True))
        elif isinstance(given, tuple | list) and _is_swapped(like, order):
            given = given[::-1]
        return in_containers_of(like, given)

    return _map_states(one, like, carry)


def carry_like(state: PyTree, carry: PyTree, order: CarryOrder) -> PyTree:
    """A state in the form of a carry: the inverse of `state_of`.

    Args:
      state: a state of the cell.
      carry: the carry whose form is wanted, as it was given.
      order: the order of pairs without the names of the fields.

    Returns:
      The leaves of `state` in the structure of `carry`.

    >>> import lstm_jax as lj
    >>> state = lj.LSTMState(h=1, c=2)
    >>> carry_like(state, (0, 0), "ch"), carry_like(state, [0, 0], "hc")
    ((2, 1), [1, 2])
    >>> carry_like(state, {"c": 0, "h": 0}, "ch"), carry_like(state, state, "ch")
    ({'c': 2, 'h': 1}, LSTMState(h=1, c=2))
    """
    structure = jax.tree.structure(carry)
    numbers = range(structure.num_leaves)
    # The state of a carry of numbers: where the leaves of the carry are in it.
    places = state_of(jax.tree.map(lambda _: 0, state), structure.unflatten(numbers), order)
    leaves = dict(zip(jax.tree.leaves(places), jax.tree.leaves(state), strict=False))
    if jax.tree.structure(places) != jax.tree.structure(state):
        return state
    return structure.unflatten([leaves[k] for k in numbers])


def plain_carry(state: PyTree, order: CarryOrder) -> PyTree:
    """A state as plain tuples, and as a bare array where it has one field.

    >>> import lstm_jax as lj
    >>> plain_carry((lj.LSTMState(h=1, c=2), lj.GRUState(3)), "ch")
    ((2, 1), 3)
    """

    def one(state: Any, _: None) -> Any:
        if not isinstance(state, tuple):
            return state
        return state[0] if len(state) == 1 else tuple(_ordered(state, order))

    return _map_states(one, state, None)


def layer_carry(state: PyTree, carry: PyTree, order: CarryOrder) -> PyTree:
    """The final state of a layer in the form that its caller reads.

    Args:
      state: the final state.
      carry: the initial carry that the layer was given, or None.
      order: the order of pairs without the names of the fields.

    Returns:
      The state with its own types, but an array or a NamedTuple where one was given, and with the
      order ``"ch"`` a plain pair ``(c, h)`` where none with the names of the fields was given.

    >>> import lstm_jax as lj
    >>> state = lj.LSTMState(h=1, c=2)
    >>> layer_carry(state, (0, 0), "hc"), layer_carry(state, None, "ch")
    (LSTMState(h=1, c=2), (2, 1))
    >>> layer_carry(lj.GRUState(3), 0, "hc"), layer_carry(lj.GRUState(3), None, "hc")
    (3, GRUState(h=3))
    """

    def one(state: Any, given: Any) -> Any:
        if given is not None and (_names(given) or jax.tree_util.all_leaves([given])):
            return carry_like(state, given, order)
        by_position = given is None or isinstance(given, tuple | list)
        return _ordered(state, order) if by_position else state

    return _map_states(one, state, carry)


def _map_states(one: Callable[[Any, Any], Any], state: PyTree, carry: PyTree) -> PyTree:
    """``one(state, part)`` for the state of every cell, and the part of a carry in its place.

    The containers of several states are those of `state`. The parts of a carry that is None are
    None; what does not fit is returned as it is.
    """
    if _is_single(state) or jax.tree_util.all_leaves([state]):
        return one(state, carry)
    states, outer = _one_level(state)
    own = outer.unflatten(None if each is None else 0 for each in states)
    parts, _ = _one_level(in_containers_of(own, carry))
    if carry is None:
        parts = [None] * len(states)
    elif len(parts) != len(states):
        return carry
    pairs = zip(states, parts, strict=True)
    return outer.unflatten([_map_states(one, each, part) for each, part in pairs])


def _one_level(tree: PyTree) -> tuple[list[Any], Any]:
    return jax.tree.flatten(tree, is_leaf=lambda part: part is not tree)


def _ordered(state: Any, order: CarryOrder) -> Any:
    """The state of one cell, or the plain pair in the order that is opposite to its own."""
    return tuple(state[::-1]) if _is_swapped(state, order) else state


def _is_swapped(state: PyTree, order: CarryOrder) -> bool:
    """Whether a pair without names in place of this state is in the opposite order."""
    return order == "ch" and _names(state) == PAIR


def _is_single(state: PyTree) -> bool:
    """Whether it is the state of one cell: a tuple of arrays."""
    return isinstance(state, tuple) and bool(state) and jax.tree_util.all_leaves(state)


def _names(state: Any) -> tuple[str, ...]:
    """The names of the fields; none of a plain tuple or list."""
    return getattr(state, "_fields", ())
