"""Parameters by name: a nested dict for those who keep, show or exchange them.

A cell's parameters are NamedTuples and tuples. Flax and files want dicts of strings; the names are
those of the fields, and ``layers_0``, ``layers_1`` for what a tuple holds.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import jax

from lstm_jax.types import PyTree

ParamDict = dict[str, Any]
"""Arrays in nested dicts of strings."""

LONE = "param"
"""The name of parameters that are a single array, and so have none of their own."""


def to_dict(params: PyTree) -> ParamDict:
    """Parameters as a nested dict.

    Args:
      params: any pytree, most often what a cell's `init` draws.

    Returns:
      A dict for every NamedTuple, tuple and dict in it; nothing for what is None.

    >>> import lstm_jax as lj
    >>> deep = lj.stack(lj.LSTM(3, 5), lj.bidirectional(lj.LSTM(5, 4)))
    >>> named = to_dict(deep.init(jax.random.key(0)))
    >>> list(named), list(named["layers_1"]), list(named["layers_0"])
    (['layers_0', 'layers_1'], ['forward', 'backward'], ['kernel', 'recurrent_kernel', 'bias'])
    """
    named: ParamDict = {}
    for path, leaf in jax.tree.leaves_with_path(params):
        *above, last = path_names(path)
        inner = named
        for name in above:
            inner = inner.setdefault(name, {})
        inner[last] = leaf
    return named


def from_dict(function: str, like: PyTree, named: Mapping[str, Any]) -> PyTree:
    """Parameters from a nested dict: the inverse of `to_dict`.

    Args:
      function: the public function to name in errors.
      like: parameters of the same cell, or their shapes.
      named: a nested dict.

    Returns:
      The leaves of `named` in the structure of `like`.

    Raises:
      ValueError: when a parameter is missing, there is one too many, or one has another shape.

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
    wanted = {"/".join(path_names(path)): leaf for path, leaf in paths}
    if flat.keys() != wanted.keys():
        raise ValueError(
            f"{function}: parameters must be {', '.join(wanted)}; got {', '.join(flat) or 'none'}"
        )
    for name, leaf in wanted.items():
        if (got := jax.numpy.shape(flat[name])) != leaf.shape:
            raise ValueError(f"{function}: {name} must have shape {leaf.shape}; got {got}")
    return jax.tree.unflatten(structure, [flat[name] for name in wanted])


def flatten(named: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """The leaves of a nested dict with their names joined.

    >>> flatten({"layers_0": {"kernel": 1}, "bias": 2})
    [('layers_0/kernel', 1), ('bias', 2)]
    """
    found = []
    for name, value in named.items():
        if isinstance(value, Mapping):
            found += flatten(value, f"{above}{name}/")
        else:
            found.append((f"{above}{name}", value))
    return found


def check_param_names(function: str, argument: str, names: Iterable[str], params: PyTree) -> None:
    """Raise unless all are names of parameters, at whatever depth.

    Args:
      function: the public function to name in errors.
      argument: its argument, to name in errors.
      names: the names given.
      params: parameters, or their shapes.

    Raises:
      ValueError: when one is not, with the name that is nearest to it.

    >>> import lstm_jax as lj
    >>> params = lj.LSTM(3, 5).init(jax.random.key(0))
    >>> check_param_names("LSTM", "metadata", ["kernal"], params)
    Traceback (most recent call last):
    ValueError: LSTM: metadata must be for parameters, kernel, recurrent_kernel, bias; got\
 'kernal'; did you mean 'kernel'?
    """
    there = dict.fromkeys(path_names(path)[-1] for path, _ in jax.tree.leaves_with_path(params))
    for name in names:
        if name not in there:
            close = difflib.get_close_matches(str(name), there, n=1)
            raise ValueError(
                f"{function}: {argument} must be for parameters, {', '.join(there) or 'of none'};"
                f" got {name!r}{f'; did you mean {close[0]!r}?' if close else ''}"
            )


def path_names(path: Any) -> tuple[str, ...]:
    """The names along a path of `jax.tree_util`.

    >>> path_names((jax.tree_util.SequenceKey(1), jax.tree_util.GetAttrKey("kernel")))
    ('layers_1', 'kernel')
    """
    return tuple(map(_name_of, path)) or (LONE,)


def _name_of(key: Any) -> str:
    if isinstance(key, jax.tree_util.SequenceKey):
        return f"layers_{key.idx}"
    if isinstance(key, jax.tree_util.GetAttrKey):
        return key.name
    return str(getattr(key, "key", key))
