"""Parameters as nested dicts of named arrays, as Flax and files store them.

A cell's parameters are NamedTuples and tuples. In a dict, a field has its own name, and the entries
of a tuple are called ``layers_0``, ``layers_1`` and so on.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax

from lstm_jax.did_you_mean import did_you_mean
from lstm_jax.types import PyTree

ParamDict = dict[str, Any]
"""Arrays in nested dicts with string keys."""

SINGLE_ARRAY_NAME = "param"
"""The name of parameters that are a single array, which has no field name."""


def to_dict(params: PyTree) -> ParamDict:
    """Convert parameters to a nested dict.

    Args:
      params: any pytree, usually the result of a cell's `init`.

    Returns:
      A dict for every NamedTuple, tuple and dict in it. None has no entry.

    >>> import lstm_jax as lj
    >>> deep = lj.stack(lj.LSTM(3, 5), lj.bidirectional(lj.LSTM(5, 4)))
    >>> named = to_dict(deep.init(jax.random.key(0)))
    >>> list(named), list(named["layers_1"]), list(named["layers_0"])
    (['layers_0', 'layers_1'], ['forward', 'backward'], ['kernel', 'recurrent_kernel', 'bias'])
    """
    named: ParamDict = {}
    for path, leaf in jax.tree.leaves_with_path(params):
        *parents, last = path_names(path)
        inner = named
        for name in parents:
            inner = inner.setdefault(name, {})
        inner[last] = leaf
    return named


def from_dict(function: str, like: PyTree, named: Mapping[str, Any]) -> PyTree:
    """Convert a nested dict to parameters: the inverse of `to_dict`.

    Args:
      function: the public function to name in errors.
      like: parameters of the same cell, or their shapes.
      named: a nested dict.

    Returns:
      The leaves of `named` in the structure of `like`.

    Raises:
      ValueError: when a parameter is missing, unexpected, or of another shape.

    >>> import lstm_jax as lj
    >>> cell = lj.LSTM(3, 5)
    >>> params, shapes = cell.init(jax.random.key(0)), jax.eval_shape(cell.init, jax.random.key(0))
    >>> from_dict("load", shapes, to_dict(params)) == params
    True
    >>> from_dict("load", shapes, {"kernel": params.kernel, "bias": params.bias})
    Traceback (most recent call last):
    ValueError: load: parameters must be kernel, recurrent_kernel, bias; got kernel, bias
    """
    flat = dict(flatten(named))
    paths, structure = jax.tree.flatten_with_path(like)
    expected = {"/".join(path_names(path)): leaf for path, leaf in paths}
    if flat.keys() != expected.keys():
        raise ValueError(
            f"{function}: parameters must be {', '.join(expected)}; got {', '.join(flat) or 'none'}"
        )
    for name, leaf in expected.items():
        if (got := jax.numpy.shape(flat[name])) != leaf.shape:
            raise ValueError(f"{function}: {name} must have shape {leaf.shape}; got {got}")
    return jax.tree.unflatten(structure, [flat[name] for name in expected])


def flatten(named: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """List the leaves of a nested dict with their names joined by slashes.

    >>> flatten({"layers_0": {"kernel": 1}, "bias": 2})
    [('layers_0/kernel', 1), ('bias', 2)]
    """
    leaves = []
    for name, value in named.items():
        if isinstance(value, Mapping):
            leaves += flatten(value, f"{prefix}{name}/")
        else:
            leaves.append((f"{prefix}{name}", value))
    return leaves


def check_param_names(function: str, argument: str, names: Iterable[str], params: PyTree) -> None:
    """Check that all names are names of parameters, at any depth.

    Args:
      function: the public function to name in errors.
      argument: the argument to name in errors.
      names: the names given.
      params: parameters, or their shapes.

    Raises:
      ValueError: when a name is not among them; the message suggests the nearest name.

    >>> import lstm_jax as lj
    >>> params = lj.LSTM(3, 5).init(jax.random.key(0))
    >>> check_param_names("LSTM", "metadata", ["kernal"], params)
    Traceback (most recent call last):
    ValueError: LSTM: metadata must be for parameters, kernel, recurrent_kernel, bias; got\
 'kernal'; did you mean 'kernel'?
    """
    valid = dict.fromkeys(path_names(path)[-1] for path, _ in jax.tree.leaves_with_path(params))
    for name in names:
        if name not in valid:
            raise ValueError(
                f"{function}: {argument} must be for parameters, {', '.join(valid) or 'of none'};"
                f" got {name!r}{did_you_mean(name, valid, quoted=True)}"
            )


def path_names(path: Any) -> tuple[str, ...]:
    """Return the names along a path of `jax.tree_util`.

    >>> path_names((jax.tree_util.SequenceKey(1), jax.tree_util.GetAttrKey("kernel")))
    ('layers_1', 'kernel')
    """
    return tuple(map(_key_name, path)) or (SINGLE_ARRAY_NAME,)


def _key_name(key: Any) -> str:
    if isinstance(key, jax.tree_util.SequenceKey):
        return f"layers_{key.idx}"
    if isinstance(key, jax.tree_util.GetAttrKey):
        return key.name
    return str(getattr(key, "key", key))
