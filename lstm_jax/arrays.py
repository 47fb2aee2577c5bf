"""Arrays from what callers pass as arrays, with errors of one line that name the argument."""

import functools
from collections.abc import Sequence
from numbers import Number
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from lstm_jax.types import PyTree


def as_array(function: str, name: str, value: Any) -> Any:
    """An array of JAX or NumPy from one, or from numbers in nested lists.

    Args:
      function: the public function to name in errors.
      name: the name of the argument, for errors.
      value: an array of any library that NumPy can read, a number, or a nested list of numbers.

    Returns:
      An array of JAX as it is; otherwise one of NumPy, in the byte order of the machine.

    Raises:
      TypeError: when it is no array of numbers, such as strings or rows of different lengths.

    >>> as_array("unroll", "lengths", [[1], [2, 3]])
    Traceback (most recent call last):
    TypeError: unroll: lengths must be an array of numbers; got a list of 2
    """
    if isinstance(value, jax.Array):
        return value
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value)):
        return jnp.asarray(value)
    try:
        array = np.asarray(value)
    except Exception:  # each library raises its own
        array = np.asarray(None)
    if array.dtype.kind in "OSUMm":
        raise TypeError(f"{function}: {name} must be an array of numbers; got {described(value)}")
    return in_native_byte_order(array)


def known_values(array: Any) -> np.ndarray | None:
    """The numbers of an array, or None where they cannot be seen.

    They cannot inside of `jit` and `vmap`, nor where they are on the devices of other processes.

    >>> known_values(jnp.ones(2)).tolist(), jax.eval_shape(known_values, jnp.ones(2))
    ([1.0, 1.0], None)
    """
    if isinstance(array, Tracer) or not getattr(array, "is_fully_addressable", True):
        return None
    return np.asarray(array)


def check_arrays(function: str, *, others: Sequence[str] = (), **trees: PyTree) -> Any:
    """Trees whose leaves are arrays of JAX or NumPy, or numbers.

    Arrays of other libraries are not converted: that would copy them at every call, and cut their
    gradients.

    Args:
      function: the public function to name in errors.
      others: the names of the trees that may contain what is no array.
      **trees: the trees, by the names of the arguments.

    Returns:
      The tree, or a tuple of several, with arrays of NumPy in the byte order of the machine.

    Raises:
      TypeError: when a leaf is an array of another library, or one of strings or objects, or is no
        array.

    >>> check_arrays("unroll", xs={"x": np.array(["a"])})
    Traceback (most recent call last):
    TypeError: unroll: xs must contain arrays of numbers; got an array of shape (1,) and dtype <U1
    """
    for leaf in jax.tree.leaves(trees):
        if not isinstance(leaf, jax.Array):
            checked = [
                jax.tree.map(functools.partial(_checked, function, name, name in others), tree)
                for name, tree in trees.items()
            ]
            break
    else:
        checked = [*trees.values()]
    return checked[0] if len(checked) == 1 else tuple(checked)


def described(value: Any) -> str:
    """What a value is, in a few words.

    >>> described([1, 2]), described(np.zeros(2)), described(None)
    ('a list of 2', 'an array of shape (2,) and dtype float64', 'NoneType')
    """
    if isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, jax.Array | np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    module, kind = type(value).__module__.partition(".")[0], type(value).__name__
    return kind if module == "builtins" else f"{module}.{kind}"


def in_native_byte_order(array: np.ndarray) -> np.ndarray:
    """An array in the byte order of the machine, as JAX needs it.

    >>> in_native_byte_order(np.ones(2, ">f4")).dtype
    dtype('float32')
    """
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _checked(function: str, name: str, others: bool, leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray):
        if leaf.dtype.kind in "OSUMm":
            raise TypeError(
                f"{function}: {name} must contain arrays of numbers; got {described(leaf)}"
            )
        return in_native_byte_order(leaf)
    kind = type(leaf)
    foreign = hasattr(kind, "__array__") or hasattr(kind, "__dlpack__")
    known = isinstance(leaf, jax.Array | np.generic | Number) or hasattr(kind, "__jax_array__")
    if foreign and not known:
        raise TypeError(
            f"{function}: {name} must contain arrays of JAX or NumPy; got {described(leaf)};"
            " convert it by jnp.asarray or jnp.from_dlpack"
        )
    if not (known or others or hasattr(leaf, "dtype")):
        raise TypeError(f"{function}: {name} must contain arrays of numbers; got {described(leaf)}")
    return leaf
