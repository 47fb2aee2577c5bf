"""Whole Flax models: convert every recurrent layer in a tree of parameters or optimizer state."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import jax

from lstm_jax.convert.checks import axis_size, check_names
from lstm_jax.convert.flax_cells import is_masked
from lstm_jax.convert.flax_layer import MGU_PARTS, cell_arrays, cells_of, children_of, find_cell
from lstm_jax.convert.flax_rename import Path, PathRules, shortened
from lstm_jax.param_dict import path_names

_FUNCTION = "flax.take_over"
_PARAMS, _OPT_STATE = "params", "opt_state"


def take_over(
    theirs: Any,
    rename: Mapping[str, str] | None = None,
    *,
    keep: Iterable[str] = (),
    cells_only: bool = False,
) -> Any:
    """Convert a checkpoint of a model with Flax's recurrent layers for the same model with ours.

    Every LSTM, GRU, simple RNN and convolutional LSTM gets our parameters, named as by
    `lstm_jax.param_dict.to_dict`: ``lstm/cell/ii`` and so on become ``lstm/kernel``,
    ``lstm/recurrent_kernel`` and ``lstm/bias``, and ``forward_rnn/cell`` becomes ``forward``. All
    other values are unchanged. They also keep boxes such as `nn.Partitioned`; converted arrays have
    none.

    An optimizer keeps trees with the names of the parameters, such as its mean gradients. They are
    converted in the same way, and training goes on as before. (A convolutional LSTM has two biases
    in Flax and one here, which an optimizer updates differently.)

    Args:
      theirs: a tree of parameters; ``{"params": ...}`` with any other collections; an `nnx.State`;
        a state of an optax optimizer; or anything with these inside, such as a `TrainState` or a
        checkpoint that was restored as dicts and lists. Arrays may have additional axes in front,
        such as those of several seeds.
      rename: new paths of modules, by the end of their path: ``{"LSTMCell_0": "LSTM_0"}``,
        ``{"encoder/LSTMCell_*": "encoder/LSTM_*"}``, ``{"LSTMCell_0": "LSTM_0/forward"}``; ``""``
        drops a level. See `flax_rename` for the rules.
      keep: paths of recurrent modules that stay as they are in Flax, matched as in `rename`.
      cells_only: whether the model keeps `RNN` and `Bidirectional` of Flax, with our cells inside:
        then the levels ``cell``, ``forward_rnn`` and ``backward_rnn`` stay.

    Returns:
      The same containers as in `theirs`, with nested dicts for all mappings.

    Raises:
      TypeError: when `theirs` has no mapping, `rename` or `keep` are not of the types above, or an
        array of a cell is not a floating-point array.
      ValueError: when there is nothing to convert, a path in `rename` or `keep` is not found, or
        two modules would get the same name.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from flax import linen
    >>> model = linen.Sequential([linen.RNN(linen.OptimizedLSTMCell(5)), linen.Dense(2)])
    >>> theirs = model.init(jax.random.key(0), jnp.ones((2, 7, 3)))
    >>> ours = take_over(theirs, rename={"layers_0": "LSTM_0"})
    >>> {name: list(part) for name, part in ours["params"].items()}
    {'LSTM_0': ['kernel', 'recurrent_kernel', 'bias'], 'layers_1': ['kernel', 'bias']}
    """
    if isinstance(keep, str):
        raise TypeError(f"{_FUNCTION}: keep must be a list of paths; got {keep!r}")
    converter = _Converter(rename or {}, keep, cells_only=cells_only)
    if not _mappings_in(theirs):
        raise TypeError(
            f"{_FUNCTION}: parameters must be a mapping, or in one; got {type(theirs).__name__}"
        )
    ours = converter.convert(theirs, moments=_is_optimizer_state(theirs))
    converter.check_all_found()
    return ours


class _Item(NamedTuple):
    """A value at a new path, and where it was."""

    path: tuple[Any, ...]
    value: Any
    source: Path


class _Converter:
    """Converts the recurrent layers in trees, and records what it finds.

    Args:
      rename, keep, cells_only: as for `take_over`.
    """

    def __init__(self, rename: Mapping[str, str], keep: Iterable[str], *, cells_only: bool) -> None:
        self.rename = PathRules(_FUNCTION, "rename", rename)
        self.keep = PathRules(_FUNCTION, "keep", dict.fromkeys(keep, ""))
        self.cells_only = cells_only
        self.found: dict[str, None] = {}
        self.modules: dict[Path, None] = {}
        self.unknown: list[str] = []

    def convert(self, tree: Any, *, moments: bool) -> Any:
        """Return a tree of any containers with its mappings converted."""

        def convert_leaf(path: Any, leaf: Any) -> Any:
            if not isinstance(leaf, Mapping):
                return leaf
            names = path_names(path)
            inside = _OPT_STATE in names or (moments and _PARAMS not in names)
            return self.convert_mapping(leaf, moments=inside)

        return jax.tree_util.tree_map_with_path(convert_leaf, tree, is_leaf=_is_mapping)

    def convert_mapping(self, tree: Mapping[Any, Any], *, moments: bool) -> dict[Any, Any]:
        """Return a mapping with its recurrent layers converted and renamed."""
        items = list(self.items(tree, (), (), moments=moments))
        _check_conflicts(items)
        integers = _has_integers(tree)
        ours: dict[Any, Any] = {}
        for item in items:
            path = [int(name) if integers and name.isdigit() else name for name in item.path]
            inner = ours
            for name in path[:-1]:
                inner = inner.setdefault(name, {})
            if not path:
                ours |= item.value
            elif path[-1] not in inner:
                inner[path[-1]] = item.value
        return ours

    def items(
        self, node: Mapping[Any, Any], root: Path, path: Path, *, moments: bool
    ) -> Iterator[_Item]:
        """Yield what a subtree contains: converted layers, and other values.

        Args:
          node: the subtree.
          root: the path to the tree of the parameters, which has no rules.
          path: the path from there.
          moments: whether an optimizer keeps these arrays.
        """
        if cells := self.cells(node, path):
            where = ": ".join(filter(None, [_FUNCTION, "/".join((*root, *path))]))
            kept = self.keep.matches(path)
            self.found[_description(path, cells, kept=kept)] = None
            ours = _as_dicts(node) if kept else _convert(where, cells, moments)
            yield _Item((*root, *self.layer_path(node, path)), ours, path)
            return
        for name, value in node.items():
            inside = moments or name == _OPT_STATE
            if _PARAMS in node:  # the rules begin inside of a collection
                inner_root, inner = (*root, *path, str(name)), ()
            else:
                inner_root, inner = root, (*path, str(name))
            if isinstance(value, Mapping) and value:
                self.modules[inner] = None
                yield from self.items(value, inner_root, inner, moments=inside)
                continue
            if _mappings_in(value):
                value = self.convert(value, moments=inside)
            yield _Item((*inner_root, *self.rename.new_path(inner)), value, inner)

    def cells(self, node: Mapping[Any, Any], path: Path) -> dict[str, Any]:
        """Return the cells of a layer; nothing for other nodes."""
        if children_of(node).keys() == MGU_PARTS:
            self.unknown.append("/".join(path))
        if self.cells_only and not find_cell(node):
            return {}
        return cells_of(node)

    def layer_path(self, node: Mapping[Any, Any], path: Path) -> Path:
        """Return the new path of a layer; a rule for an `RNN` may also name the cell in it."""
        cell = (*path, "cell")
        is_rnn = not self.cells_only and children_of(node).keys() == {"cell"}
        return self.rename.new_path(cell if is_rnn and self.rename.matches(cell) else path)

    def check_all_found(self) -> None:
        """Raise if there is no recurrent layer, or a rule matched no path."""
        if not self.found:
            names = shortened("/".join(path) for path in self.modules if path)
            hint = f"; there is no cell here for the MGUCell {shortened(self.unknown)}"
            raise ValueError(
                f"{_FUNCTION}: no recurrent layer of Flax found; the names are {names or 'none'}"
                f"{hint if self.unknown else ''}"
            )
        for rules in (self.rename, self.keep):
            rules.check_used(self.modules, self.found)


def _convert(function: str, cells: Mapping[str, Any], moments: bool) -> dict[str, Any]:
    """Convert the cells of a layer to nested dicts of our parameters."""
    ours = {}
    for direction, node in cells.items():
        cell, arrays = find_cell(node), cell_arrays(node)
        assert cell is not None  # `cells_of` has found it
        check_names(function, arrays, cell.names)
        ours[direction] = cell.to_fields(function, "", arrays, stacked=True, moments=moments)
    kernels = [fields["kernel"] for fields in ours.values() if not is_masked(fields["kernel"])]
    inputs = [axis_size(kernel, -2) for kernel in kernels]
    if len({*inputs}) > 1:
        raise ValueError(
            f"{function}: both directions must have the same input features; got {inputs}"
        )
    return ours.get("", ours)


def _as_dicts(node: Any) -> Any:
    """Return nested mappings as plain dicts."""
    return {k: _as_dicts(v) for k, v in node.items()} if _is_mapping(node) else node


def _description(path: Path, cells: Mapping[str, Any], *, kept: bool) -> str:
    """Describe a layer by its path and its cells.

    >>> gru = {name: {} for name in ("ir", "iz", "in", "hr", "hz", "hn")}
    >>> _description(("a", "b"), {"": gru}, kept=False)
    'a/b (GRU)'
    """
    kinds = dict.fromkeys(getattr(find_cell(node), "kind", "") for node in cells.values())
    kind = "bidirectional " * (len(cells) > 1) + " and ".join(kinds) + ", kept" * kept
    return f"{'/'.join(path) or 'the whole tree'} ({kind})"


def _check_conflicts(items: Iterable[_Item]) -> None:
    """Check that no path is equal to another, or its parent."""
    named = sorted(
        (tuple(map(str, item.path)), "/".join(item.source))
        for item in items
        if not (isinstance(item.value, Mapping) and not item.value)
    )
    for (path, source), (other, other_source) in pairwise(named):
        if path == other[: len(path)]:
            raise ValueError(
                f"{_FUNCTION}: two modules would get the name {'/'.join(path)!r}:"
                f" {source} and {other_source}"
            )


def _is_optimizer_state(tree: Any) -> bool:
    """Whether a tree is an optimizer state: a tuple, also as restored in a list or a dict."""
    if isinstance(tree, Mapping):
        return bool(tree) and all(isinstance(name, str) and name.isdigit() for name in tree)
    return isinstance(tree, tuple | list)


def _is_mapping(node: Any) -> bool:
    return isinstance(node, Mapping)


def _mappings_in(tree: Any) -> bool:
    """Whether there is a mapping in a tree of any containers."""
    return any(map(_is_mapping, jax.tree.leaves(tree, is_leaf=_is_mapping)))


def _has_integers(tree: Any) -> bool:
    """Whether a tree has integers for names, as those of nnx."""
    return isinstance(tree, Mapping) and any(
        isinstance(name, int) or _has_integers(value) for name, value in tree.items()
    )
