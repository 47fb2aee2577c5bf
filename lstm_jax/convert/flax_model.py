"""Parameters of whole Flax models: convert every LSTM in a tree."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from lstm_jax.convert.checks import axis_size, check_mapping
from lstm_jax.convert.flax_layer import DENSE, LINEN, NNX, RNNS, children_of, layer_of
from lstm_jax.convert.layer_params import join_layers
from lstm_jax.param_dict import to_dict


def take_over(theirs: Any, rename: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Convert the parameters of a model with Flax's LSTMs for the same model with our layers.

    The parameters of every LSTM are replaced by ours, named as by `lstm_jax.param_dict.to_dict`:
    ``lstm/cell/ii`` and so on become ``lstm/kernel``, ``lstm/recurrent_kernel``, ``lstm/bias``, and
    ``forward_rnn/cell`` becomes ``forward``. All other parameters are unchanged, but in plain
    dicts. They also keep boxes such as `nn.Partitioned`; the arrays of an LSTM are returned without
    boxes.

    Args:
      theirs: a tree of parameters, ``{"params": ...}`` with any other collections, or an
        `nnx.State`.
      rename: new names of modules, at any depth: ``{"OptimizedLSTMCell_0": "LSTM_0"}``. A new name
        may be a path: ``"LSTM_0/forward"``.

    Returns:
      A nested dict.

    Raises:
      TypeError: when `theirs` is not a mapping, or an array of an LSTM is not a floating-point
        array.
      ValueError: when it has no LSTM, a name in `rename` is not found, or two modules would get the
        same name.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from flax import linen
    >>> model = linen.Sequential([linen.RNN(linen.OptimizedLSTMCell(5)), linen.Dense(2)])
    >>> theirs = model.init(jax.random.key(0), jnp.ones((2, 7, 3)))
    >>> ours = take_over(theirs, rename={"layers_0": "LSTM_0"})
    >>> {name: list(part) for name, part in ours["params"].items()}
    {'LSTM_0': ['kernel', 'recurrent_kernel', 'bias'], 'layers_1': ['kernel', 'bias']}
    """
    function = "flax.take_over"
    check_mapping(function, "parameters", theirs)
    converter = _TreeConverter(function, dict(rename or {}))
    ours = converter.convert(theirs)
    if not converter.lstms:
        names = ", ".join(map(str, theirs))
        raise ValueError(f"{function}: no LSTM found; the names are {names}")
    if unused := converter.rename.keys() - converter.renamed:
        raise ValueError(f"{function}: no module is called {', '.join(sorted(unused))}")
    return ours


class _TreeConverter:
    """Converts the LSTMs in a tree of parameters, and records what it found.

    Args:
      function: the public function to name in errors.
      rename: new names of modules.

    Attributes:
      lstms: the number of LSTMs converted so far.
      renamed: the names in `rename` found so far.
    """

    def __init__(self, function: str, rename: dict[str, str]) -> None:
        self.function, self.rename = function, rename
        self.lstms = 0
        self.renamed: set[str] = set()

    def convert(self, node: Any, *path: str) -> Any:
        """Return the subtree at a path with its LSTMs converted."""
        if not isinstance(node, Mapping):
            return node
        if _is_lstm(node):
            self.lstms += 1
            where = f"{self.function}: {'/'.join(path)}" if path else self.function
            return to_dict(join_layers(where, [layer_of(where, node)], stack=False))
        new_paths = {name: self.new_path(name) for name in node}
        self.check_conflicts(new_paths.values())
        ours: dict[str, Any] = {}
        for name, (*parents, last) in new_paths.items():
            inner = ours
            for part in parents:
                inner = inner.setdefault(part, {})
            inner[last] = self.convert(node[name], *path, str(name))
        return ours

    def new_path(self, name: Any) -> list[Any]:
        """Return the path that replaces a name."""
        if name not in self.rename:
            return [name]
        self.renamed.add(name)
        return self.rename[name].split("/")

    def check_conflicts(self, paths: Iterable[list[Any]]) -> None:
        """Check that no path is equal to another, or its parent."""
        ordered = sorted([str(part) for part in path] for path in paths)
        for path, other in pairwise(ordered):
            if path == other[: len(path)]:
                raise ValueError(
                    f"{self.function}: two modules would get the name {'/'.join(path)!r}"
                )


def _is_lstm(node: Any) -> bool:
    """Return whether a subtree is an LSTM cell, an `RNN` of one, or a `Bidirectional` of two."""
    children = children_of(node)
    names = children.keys()
    if names == {"cell"}:
        return _is_lstm(children["cell"])
    if names and names <= set(RNNS):
        return all(map(_is_lstm, children.values()))
    if names == set(DENSE):  # layers of a GRU, and of other modules, can have these names too
        inputs, hidden = (children_of(node[name]) for name in DENSE)
        if inputs.keys() != {"kernel"} or hidden.keys() != {"kernel", "bias"}:
            return False
        # Axes are counted from the end: arrays of stacked modules have an additional first axis.
        widths = {axis_size(dense["kernel"], -1) for dense in (inputs, hidden)}
        return widths == {4 * axis_size(hidden["kernel"], -2)}
    return names in (set(LINEN), set(NNX.values()))
