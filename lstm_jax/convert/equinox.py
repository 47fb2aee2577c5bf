"""Weights of Equinox's `LSTMCell`: ours, transposed.

``weight_ih [4H, I]``, ``weight_hh [4H, H]`` and ``bias [4H]``, or None with ``use_bias=False``; the
gates in our order, i, f, g, o. Both ways are exact.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.convert.arrays import as_arrays, check_names, check_shape, size
from lstm_jax.convert.layers import Params, assembled, is_stack, layers_of, one_direction
from lstm_jax.param_dict import path_names
from lstm_jax.types import LSTMParams, PyTree

_AXES = {"weight_ih": "[4H, I]", "weight_hh": "[4H, H]", "bias": "[4H]"}
_NAMES = (*_AXES,)
_OURS = dict(zip(_NAMES, LSTMParams._fields, strict=True))
_GRU = ("bias_n",)


def to_params(theirs: Any) -> PyTree:
    """Parameters from a cell of Equinox.

    Args:
      theirs: an `equinox.nn.LSTMCell`, or a mapping with its ``weight_ih``, ``weight_hh`` and
        ``bias``; or a list of these, from the input up.

    Returns:
      `LSTMParams`; a tuple for a list. Zeros stand for the bias of a cell without.

    Raises:
      TypeError: when there is something else than floating-point arrays, or dtypes differ.
      ValueError: when the names or shapes are not those of an LSTM, or layers do not fit on each
        other.

    >>> to_params({"weight_ih": jnp.ones((20, 3)), "weight_hh": jnp.ones((20, 5))}).kernel.shape
    (3, 20)
    """
    function = "equinox.to_params"
    if isinstance(theirs, list | tuple):
        layers = [(_one(function, cell),) for cell in theirs]
        return assembled(function, layers, stack=True)
    return _one(function, theirs)


def _one(function: str, cell: Any) -> Params:
    if not isinstance(cell, Mapping):
        every = {name: getattr(cell, name, None) for name in (*_NAMES, *_GRU)}
        cell = {name: value for name, value in every.items() if value is not None}
    weights = {name: value for name, value in cell.items() if value is not None}
    names = [name for name in _NAMES if name != "bias" or "bias" in weights]
    check_names(function, weights, names, gru=_GRU)
    arrays = as_arrays(function, {name: weights[name] for name in names})
    sizes = {"I": size(arrays["weight_ih"], 1), "H": size(arrays["weight_hh"], 1)}
    for name, array in arrays.items():
        check_shape(function, name, array, _AXES[name], **sizes)
    return one_direction({_OURS[name]: array.T for name, array in arrays.items()})


def from_params(params: PyTree, *, like: Any = None) -> Any:
    """The weights of Equinox from parameters.

    Args:
      params: `LSTMParams`, or a tuple of layers.
      like: an `equinox.nn.LSTMCell` of the same sizes to put them into, or a list of them for a
        tuple of layers. One without a bias takes only biases of zero.

    Returns:
      A dict of ``weight_ih``, ``weight_hh`` and ``bias``, or a cell such as `like` with these
      weights; a list of them for a tuple of layers.

    Raises:
      TypeError: when `params` are of another cell.
      ValueError: when Equinox has no cell for them, or `like` is of other sizes.

    >>> import lstm_jax as lj
    >>> params = lj.LSTM(3, 5).init(jax.random.key(0))
    >>> {name: array.shape for name, array in from_params(params).items()}
    {'weight_ih': (20, 3), 'weight_hh': (20, 5), 'bias': (20,)}
    """
    function = "equinox.from_params"
    layers = layers_of(function, params, projection=False, directions=False)
    alike = _alike(function, like, len(layers), is_stack(params))
    theirs = []
    for (each, *_), cell in zip(layers, alike, strict=True):
        weights = {
            "weight_ih": each.kernel.T,
            "weight_hh": each.recurrent_kernel.T,
            "bias": each.bias,
        }
        theirs.append(weights if cell is None else _filled(function, cell, each, weights))
    return theirs if is_stack(params) else theirs[0]


def _alike(function: str, like: Any, layers: int, several: bool) -> Sequence[Any]:
    if like is None:
        return [None] * layers
    alike = like if is_stack(like) else [like]
    if is_stack(like) != several or len(alike) != layers:
        wanted = f"a list of {layers} cells" if several else "one cell"
        got = f"a list of {len(alike)}" if is_stack(like) else type(like).__name__
        raise ValueError(f"{function}: like must be {wanted}; got {got}")
    return alike


def _filled(function: str, cell: Any, ours: Params, weights: Mapping[str, jax.Array]) -> Any:
    """A cell with other weights, whatever kind of pytree it is."""
    leaves, structure = jax.tree.flatten_with_path(cell)
    old = {"/".join(path_names(path)): leaf for path, leaf in leaves}
    if "bias" not in old:
        layers_of(function, ours, bias=False)
        weights = {name: weights[name] for name in _NAMES[:2]}
    check_names(function, old, weights, gru=_GRU)
    for name, leaf in old.items():
        if jnp.shape(leaf) != weights[name].shape:
            raise ValueError(
                f"{function}: {name} of like must have shape {weights[name].shape};"
                f" got {jnp.shape(leaf)}"
            )
    return jax.tree.unflatten(structure, [weights[name] for name in old])
