"""Parameters and states in the containers of a cell, from plain tuples, lists, mappings and arrays.

Files and other libraries know no NamedTuples: they give the fields of one as a dict or as a list.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.types import PyTree


def in_containers_of(own: PyTree, given: PyTree) -> PyTree:
    """The entries of `given` in the containers of `own`.

    ===================  ==========================================================================
    in `own`             in `given`
    ===================  ==========================================================================
    NamedTuple           one of that length, a tuple, a list, or a mapping with its field names
    tuple or list        likewise; or a mapping with keys ``layers_0`` or ``"0"`` and so on
    one entry alone      also the array itself
    array                also numbers in nested lists
    ===================  ==========================================================================

    Args:
      own: the containers, with arrays or shapes.
      given: parameters or a state.

    Returns:
      The entries of `given`; those that do not fit are as they were given.

    >>> from lstm_jax import LSTMState
    >>> own = (LSTMState(jnp.zeros(2), jnp.zeros(2)),)
    >>> in_containers_of(own, {"layers_0": {"c": 1, "h": 2}})
    (LSTMState(h=2, c=1),)
    """
    if isinstance(own, tuple | list):
        names = getattr(own, "_fields", None)
        entries = _entries(given, names, own)
        if entries is None:
            return given
        kind: Any = type(given) if names is None and hasattr(given, "_fields") else type(own)
        entries = [in_containers_of(*pair) for pair in zip(own, entries, strict=True)]
        return kind._make(entries) if hasattr(kind, "_make") else kind(entries)
    if isinstance(own, Mapping):
        if type(own) is type(given) or not isinstance(given, Mapping) or own.keys() != given.keys():
            return given
        entries = {name: in_containers_of(own[name], given[name]) for name in own}
        return entries if type(own) is dict else type(own)(entries)  # pyright: ignore[reportCallIssue]
    if isinstance(given, list) and hasattr(own, "dtype"):
        return jnp.asarray(given, own.dtype)
    return given


def fields_of(kind: type[Any], given: Any) -> list[Any] | None:
    """The fields of a NamedTuple from a tuple, list or mapping of them, or of one bare array.

    >>> from lstm_jax import LSTMState
    >>> fields_of(LSTMState, {"c": 1, "h": 2}), fields_of(LSTMState, (1, 2, 3))
    ([2, 1], None)
    """
    defaults = kind._field_defaults
    return _entries(given, kind._fields, [defaults.get(name, 0) for name in kind._fields])


def is_array(value: Any) -> bool:
    """Whether a value is an array, a tracer, or a number.

    >>> is_array(jnp.zeros(2)), is_array([0.0])
    (True, False)
    """
    return hasattr(value, "shape") or isinstance(value, bool | int | float | complex)


def _entries(given: Any, names: Sequence[str] | None, own: Sequence[Any]) -> list[Any] | None:
    """The entries of `given`, in the order of `own`; None where it does not have them."""
    if isinstance(given, tuple | list):
        return list(given) if len(given) == len(own) else None
    if isinstance(given, Mapping):
        if names is None:
            forms = ([f"layers_{k}" for k in range(len(own))], [str(k) for k in range(len(own))])
            names = next((form for form in forms if given.keys() == set(form)), None)
        if names is None or not given.keys() <= set(names):
            return None
        missing = [value for name, value in zip(names, own, strict=True) if name not in given]
        return None if any(v is not None for v in missing) else [given.get(n) for n in names]
    # An array is the field itself, also of a container in a container.
    if is_array(given) and len(own) == 1 and len(jax.tree.leaves(own)) == 1:
        return [given]
    return None
