"""Weights of Flax: `LSTMCell` and `OptimizedLSTMCell` of linen and of nnx, and models around them.

A cell of `flax.linen`, of either name, and `nnx.LSTMCell` keep the gates apart:

    ii, if, ig, io    kernel [I, H] each, without bias; ``if_`` in nnx
    hi, hf, hg, ho    kernel [H, H] and bias [H] each

`nnx.OptimizedLSTMCell` has ``dense_i/kernel [I, 4H]``, ``dense_h/kernel [H, 4H]`` and
``dense_h/bias [4H]``, the gates in our order, i, f, g, o. Both ways are exact. An `RNN` holds its
cell under ``cell``, a `Bidirectional` two of them under ``forward_rnn`` and ``backward_rnn``.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lstm_jax.convert.arrays import OURS, as_arrays, check_names, check_shape, size
from lstm_jax.convert.layers import Params, assembled, is_stack, layers_of, one_direction
from lstm_jax.param_dict import to_dict
from lstm_jax.types import LSTMParams, LSTMState, PyTree

Layout = Literal["linen", "nnx.LSTMCell", "nnx.OptimizedLSTMCell"]

_LINEN = {f"{side}{gate}": f"{side}{gate}" for side in "ih" for gate in OURS}
_NNX = _LINEN | {"if": "if_"}  # "if" is a word of Python's own
_DENSE = ("dense_i", "dense_h")
_RNNS = ("forward_rnn", "backward_rnn")
_STREAM = "rngs"  # nnx keeps one in a layer to draw carries from; it is no parameter
_PARTS = ("params", "cell", *_RNNS, *_DENSE, *_LINEN, *_NNX.values(), "kernel", "bias")
_GRU = ("ir/kernel", "iz/kernel", "in/kernel", "dense_i/bias")


def to_params(theirs: Any) -> PyTree:
    """Parameters from those of Flax.

    Args:
      theirs: what a cell, an `RNN` of one or a `Bidirectional` of two holds: linen's parameters or
        ``{"params": ...}``, an `nnx.State`, the dict of `nnx.to_pure_dict`, or the nnx module
        itself; or a list of these, from the input up. Boxes such as `nn.Partitioned` are opened.

    Returns:
      `LSTMParams`; `Directions` of them for a `Bidirectional`; a tuple for a list.

    Raises:
      TypeError: when there is something else than floating-point arrays, or dtypes differ.
      ValueError: when the names or shapes are not those of an LSTM, or layers do not fit on each
        other.

    >>> from flax import linen
    >>> variables = linen.RNN(linen.LSTMCell(5)).init(jax.random.key(0), jnp.ones((2, 7, 3)))
    >>> jax.tree.map(jnp.shape, to_params(variables))
    LSTMParams(kernel=(3, 20), recurrent_kernel=(5, 20), bias=(20,))
    """
    function = "flax.to_params"
    if isinstance(theirs, list | tuple):
        layers = [_layer(function, layer) for layer in theirs]
        return assembled(function, layers, stack=True)
    return assembled(function, [_layer(function, theirs)], stack=False)


def _layer(function: str, node: Any) -> tuple[Params, ...]:
    inside = _inside(node)
    if inside.keys() == {"params"}:
        return _layer(function, inside["params"])
    if inside.keys() & set(_RNNS):
        check_names(function, inside, _RNNS)
        return tuple(_direction(function, f"{name}/", inside[name]) for name in _RNNS)
    return (_direction(function, "", node),)


def _direction(function: str, where: str, node: Any) -> Params:
    """Parameters of a cell, or of an `RNN` around it."""
    inside = _inside(node)
    if inside.keys() == {"cell"}:
        return _direction(function, f"{where}cell/", inside["cell"])
    leaves = {
        f"{where}{part}/{name}": leaf
        for part, dense in inside.items()
        for name, leaf in _inside(dense).items()
    }
    names = _names(inside, where)
    wanted = [name for part in names for name in part]
    check_names(function, leaves or inside, wanted, gru=[where + name for name in _GRU])
    arrays = as_arrays(function, {name: leaves[name] for name in wanted})
    kernels, recurrent, biases = ([arrays[name] for name in part] for part in names)
    sizes = {"I": size(kernels[0], 0), "H": size(recurrent[0], 0)}
    block = "H" if len(kernels) > 1 else "4H"
    axes = (f"[I, {block}]", f"[H, {block}]", f"[{block}]")
    for part, shape in zip(names, axes, strict=True):
        for name in part:
            check_shape(function, name, arrays[name], shape, **sizes)
    parts = (jnp.concatenate(part, axis=-1) for part in (kernels, recurrent, biases))
    return one_direction(dict(zip(LSTMParams._fields, parts, strict=True)))


def _names(cell: Mapping[str, Any], where: str) -> tuple[list[str], list[str], list[str]]:
    """What the kernels, recurrent kernels and biases of a cell are called, in our order."""
    if cell.keys() & set(_DENSE):
        inputs, hidden = ([part] for part in _DENSE)
    else:
        theirs = _NNX if "if_" in cell else _LINEN
        inputs, hidden = ([theirs[f"{side}{gate}"] for gate in OURS] for side in "ih")
    return (
        [f"{where}{part}/kernel" for part in inputs],
        [f"{where}{part}/kernel" for part in hidden],
        [f"{where}{part}/bias" for part in hidden],
    )


def _inside(node: Any) -> dict[str, Any]:
    """What a mapping or a live module of nnx holds by name, random streams aside."""
    if isinstance(node, Mapping):
        return {name: node[name] for name in node if name != _STREAM}
    if hasattr(node, "__dict__") and not hasattr(node, "shape"):
        return {name: vars(node)[name] for name in _PARTS if vars(node).get(name) is not None}
    return {}


def from_params(params: PyTree, *, layout: Layout = "linen") -> Any:
    """The parameters of Flax from ours.

    Args:
      params: `LSTMParams`, `Directions` of them, or a tuple of layers.
      layout: ``"linen"`` for either cell of linen, ``"nnx.LSTMCell"``, or
        ``"nnx.OptimizedLSTMCell"``.

    Returns:
      A nested dict: of the cell alone, which an `RNN` holds under ``cell``; of the `Bidirectional`
      for `Directions`; a list of these for a tuple of layers.

    Raises:
      TypeError: when `params` are of another cell.
      ValueError: when Flax has no cell for them.

    >>> import lstm_jax as lj
    >>> theirs = from_params(lj.LSTM(3, 5).init(jax.random.key(0)))
    >>> list(theirs), theirs["hf"]["kernel"].shape
    (['ii', 'if', 'ig', 'io', 'hi', 'hf', 'hg', 'ho'], (5, 5))
    """
    function = "flax.from_params"
    make = {
        "linen": lambda each: _gate_by_gate(each, _LINEN),
        "nnx.LSTMCell": lambda each: _gate_by_gate(each, _NNX),
        "nnx.OptimizedLSTMCell": _dense,
    }
    if layout not in make:
        raise ValueError(f"{function}: layout must be one of {(*make,)}; got {layout!r}")
    theirs = []
    for layer in layers_of(function, params, projection=False):
        cells = [make[layout](each) for each in layer]
        if len(cells) == 1:
            theirs += cells
        else:
            pairs = zip(_RNNS, cells, strict=True)
            theirs.append({name: {"cell": cell} for name, cell in pairs})
    return theirs if is_stack(params) else theirs[0]


def _gate_by_gate(params: Params, names: Mapping[str, str]) -> dict[str, dict[str, jax.Array]]:
    kernels, recurrent, biases = (jnp.split(leaf, len(OURS), axis=-1) for leaf in params[:3])
    theirs = {names[f"i{gate}"]: {"kernel": k} for gate, k in zip(OURS, kernels, strict=True)}
    for gate, kernel, bias in zip(OURS, recurrent, biases, strict=True):
        theirs[names[f"h{gate}"]] = {"kernel": kernel, "bias": bias}
    return theirs


def _dense(params: Params) -> dict[str, dict[str, jax.Array]]:
    hidden = {"kernel": params.recurrent_kernel, "bias": params.bias}
    return {"dense_i": {"kernel": params.kernel}, "dense_h": hidden}


def to_carry(theirs: tuple[Any, Any]) -> LSTMState:
    """Our state from a carry of Flax, which has the two the other way round: ``(c, h)``.

    Args:
      theirs: ``(c, h)``, each ``[..., H]``.

    Returns:
      `LSTMState` ``(h, c)``.

    Raises:
      TypeError: when it is not a tuple of two.

    >>> to_carry((jnp.zeros(5), jnp.ones(5))).h.tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    c, h = _pair("flax.to_carry", "(c, h)", theirs)
    return LSTMState(h=h, c=c)


def from_carry(state: LSTMState | tuple[Any, Any]) -> tuple[Any, Any]:
    """A carry of Flax, ``(c, h)``, from our state.

    Args:
      state: ``(h, c)``, each ``[..., H]``.

    Returns:
      ``(c, h)``.

    Raises:
      TypeError: when it is not a tuple of two.

    >>> from_carry(LSTMState(h=jnp.zeros(2), c=jnp.ones(2)))[0].tolist()
    [1.0, 1.0]
    """
    h, c = _pair("flax.from_carry", "(h, c)", state)
    return c, h


def _pair(function: str, wanted: str, pair: Any) -> tuple[Any, Any]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{function}: it must be a tuple {wanted}; got {type(pair).__name__}")
    return pair[0], pair[1]


def take_over(theirs: Any, rename: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The parameters of a whole model, for the same model with our layers in place of Flax's LSTMs.

    Every LSTM in it becomes ours by name, as `lstm_jax.param_dict.to_dict` gives it: ``lstm/cell/ii``
    and so on become ``lstm/kernel``, ``lstm/recurrent_kernel``, ``lstm/bias``, and
    ``forward_rnn/cell`` becomes ``forward``. All else stays as it is, but in plain dicts. Boxes
    such as `nn.Partitioned` stay too, except for those of an LSTM: its arrays come without.

    Args:
      theirs: a tree of parameters, ``{"params": ...}`` with any other collections, or an
        `nnx.State`.
      rename: names of modules that have others with our layers, wherever they are:
        ``{"OptimizedLSTMCell_0": "LSTM_0"}``. A name may be a path: ``"LSTM_0/forward"``.

    Returns:
      A nested dict.

    Raises:
      TypeError: when it is no mapping, or the arrays of an LSTM are no floating-point arrays.
      ValueError: when there is no LSTM in it, a name to change is not met, or two things come to
        the same name.

    >>> from flax import linen
    >>> model = linen.Sequential([linen.RNN(linen.OptimizedLSTMCell(5)), linen.Dense(2)])
    >>> theirs = model.init(jax.random.key(0), jnp.ones((2, 7, 3)))
    >>> ours = take_over(theirs, rename={"layers_0": "LSTM_0"})
    >>> {name: list(part) for name, part in ours["params"].items()}
    {'LSTM_0': ['kernel', 'recurrent_kernel', 'bias'], 'layers_1': ['kernel', 'bias']}
    """
    function = "flax.take_over"
    if not isinstance(theirs, Mapping):
        raise TypeError(f"{function}: parameters must be a mapping; got {type(theirs).__name__}")
    tree = _Tree(function, dict(rename or {}))
    ours = tree.taken_over(theirs)
    if not tree.found:
        raise ValueError(
            f"{function}: no LSTM in there; the names are {', '.join(map(str, theirs))}"
        )
    if unmet := rename.keys() - tree.met if rename else ():
        raise ValueError(f"{function}: no module is called {', '.join(sorted(unmet))}")
    return ours


class _Tree:
    """A walk over the parameters of a model."""

    def __init__(self, function: str, rename: dict[str, str]) -> None:
        self.function, self.rename = function, rename
        self.found, self.met = 0, set()

    def taken_over(self, node: Any, *where: str) -> Any:
        """A part of the tree with our parameters in it."""
        if not isinstance(node, Mapping):
            return node
        if _is_lstm(node):
            self.found += 1
            at = f"{self.function}: {'/'.join(where)}" if where else self.function
            return to_dict(assembled(at, [_layer(at, node)], stack=False))
        paths = {name: self.path(name) for name in node}
        ordered = sorted([str(part) for part in path] for path in paths.values())
        for path, other in pairwise(ordered):
            if path == other[: len(path)]:
                raise ValueError(
                    f"{self.function}: two modules come to the name {'/'.join(path)!r}"
                )
        ours: dict[str, Any] = {}
        for name, (*above, last) in paths.items():
            inner = ours
            for part in above:
                inner = inner.setdefault(part, {})
            inner[last] = self.taken_over(node[name], *where, str(name))
        return ours

    def path(self, name: Any) -> list[Any]:
        """The names that one name comes to."""
        if name not in self.rename:
            return [name]
        self.met.add(name)
        return self.rename[name].split("/")


def _is_lstm(node: Any) -> bool:
    """Whether a part of a tree is an LSTM: a cell, an `RNN` of one, a `Bidirectional` of two."""
    names = _inside(node).keys()
    if names == {"cell"}:
        return _is_lstm(node["cell"])
    if names and names <= set(_RNNS):
        return all(_is_lstm(node[name]) for name in names)
    if names == set(_DENSE):  # other layers are called so as well, those of a GRU among them
        inputs, hidden = (_inside(node[name]) for name in _DENSE)
        if inputs.keys() != {"kernel"} or hidden.keys() != {"kernel", "bias"}:
            return False
        # From the end: modules that are stacked have an axis before these.
        widths = {size(dense["kernel"], -1) for dense in (inputs, hidden)}
        return widths == {4 * size(hidden["kernel"], -2)}
    return names in (set(_LINEN), set(_NNX.values()))
