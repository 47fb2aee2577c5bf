"""Whole Flax models: convert every recurrent layer in a tree of parameters or optimizer state."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import jax

from lstm_jax.convert.checks import axis_size, check_names
from lstm_jax.convert.flax_cells import is_masked
from lstm_jax.convert.flax_conv import FlaxConvLSTM
from lstm_jax.convert.flax_layer import MGU_PARTS, cell_arrays, cells_of, children_of, find_cell
from lstm_jax.convert.flax_moments import Role, is_state, role_below
from lstm_jax.convert.flax_rename import Path, PathRules, shortened
from lstm_jax.param_dict import path_names

_FUNCTION = "flax.take_over"
_PARAMS = "params"


def take_over(
    theirs: Any,
    rename: Mapping[str, str] | None = None,
    *,
    keep: Iterable[str] = (),
    cells_only: bool = False,
    moments: bool | None = None,
) -> Any:
    """Convert a checkpoint of a model with Flax's recurrent layers for the same model with ours.

    Every LSTM, GRU, simple RNN and convolutional LSTM gets our parameters, named as by
    `lstm_jax.param_dict.to_dict`: ``lstm/cell/ii`` and so on become ``lstm/kernel``,
    ``lstm/recurrent_kernel`` and ``lstm/bias``, and ``forward_rnn/cell`` becomes ``forward``. All
    other values are unchanged. They also keep boxes such as `nn.Partitioned`; converted arrays have
    none.

    An optimizer keeps trees with the names of the parameters, such as its mean gradients. They are
    converted in the same way, and training goes on as before. (A convolutional LSTM has two biases
    in Flax and one here, which an optimizer updates differently, and Flax adds 1 to its forget gate
    in every call: its parameters get that 1, the trees of an optimizer do not.)

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
      moments: whether all trees are such as an optimizer keeps, for example gradients, or none is.
        When not given, the trees in a state of optax or under ``opt_state`` are; see
        `flax_moments`.

    Returns:
      The same containers as in `theirs`, with nested dicts for all mappings.

    Raises:
      TypeError: when `theirs` has no mapping, `rename` or `keep` are not of the types above, or an
        array of a cell is not a floating-point array.
      ValueError: when there is nothing to convert, a path in `rename` or `keep` is not found,
        two modules would get the same name, or a convolutional LSTM needs `moments`.

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
    role: Role = "checkpoint" if moments is None else "optimizer" if moments else "params"
    ours = converter.convert(theirs, role)
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

    def convert(self, tree: Any, role: Role) -> Any:
        """Return a tree of any containers with its mappings converted.

        Args:
          tree: the tree.
          role: what it belongs to.
        """
        if isinstance(tree, Mapping):
            return self.convert_mapping(tree, role)
        children, structure = jax.tree.flatten_with_path(tree, is_leaf=lambda x: x is not tree)
        if not _mappings_in(tree):
            return tree
        ours = []
        for path, child in children:
            (name,) = path_names(path)
            ours.append(self.convert(child, role_below(role, tree, name)))
        return jax.tree.unflatten(structure, ours)

    def convert_mapping(self, tree: Mapping[Any, Any], role: Role) -> dict[Any, Any]:
        """Return a mapping with its recurrent layers converted and renamed."""
        items = list(self.items(tree, (), (), role))
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

    def items(self, node: Mapping[Any, Any], root: Path, path: Path, role: Role) -> Iterator[_Item]:
        """Yield what a subtree contains: converted layers, and other values.

        Args:
          node: the subtree.
          root: the path to the tree of the parameters, which has no rules.
          path: the path from there.
          role: what it belongs to.
        """
        if cells := self.cells(node, path):
            where = ": ".join(filter(None, [_FUNCTION, "/".join((*root, *path))]))
            kept = self.keep.matches(path)
            self.found[_description(path, cells, kept=kept)] = None
            ours = _as_dicts(node) if kept else self.converted(where, cells, role)
            yield _Item((*root, *self.layer_path(node, path)), ours, path)
            return
        begins = _PARAMS in node or is_state(role, node)  # the rules begin inside of each value
        for name, value in node.items():
            inner_role = role_below(role, node, str(name))
            if begins:
                inner_root, inner = (*root, *path, str(name)), ()
            else:
                inner_root, inner = root, (*path, str(name))
            if isinstance(value, Mapping) and value:
                self.modules[inner] = None
                yield from self.items(value, inner_root, inner, inner_role)
                continue
            is_module = isinstance(value, Mapping)
            if _mappings_in(value):
                is_module, value = True, self.convert(value, inner_role)
            if is_module and inner:
                new = self.rename.new_path(inner)
            else:  # rules are about modules: an array keeps its name
                new = (*self.rename.new_path(inner[:-1]), inner[-1]) if inner else ()
            yield _Item((*inner_root, *new), value, inner)

    def converted(self, where: str, cells: Mapping[str, Any], role: Role) -> dict[str, Any]:
        """Convert the cells of a layer to nested dicts of our parameters."""
        ours = {}
        for direction, node in cells.items():
            cell, arrays = find_cell(node), cell_arrays(node)
            assert cell is not None  # `cells_of` has found it
            check_names(where, arrays, cell.names)
            if not isinstance(cell, FlaxConvLSTM):
                ours[direction] = cell.to_fields(where, "", arrays, stacked=True)
                continue
            no_bias = self.cells_only and not cell.use_bias  # as the cell of that name here
            if role == "unclear" and not no_bias:
                raise ValueError(
                    f"{where}: parameters, or an optimizer's trees? A ConvLSTMCell adds 1 to its"
                    " forget gate, which only parameters get here: pass moments=False for"
                    " parameters or moments=True; convert them one by one if both are here"
                )
            moments = role == "optimizer"
            fields = cell.to_fields(where, "", arrays, stacked=True, moments=moments)
            ours[direction] = {
                name: array for name, array in fields.items() if not (no_bias and name == "bias")
            }
        kernels = [fields["kernel"] for fields in ours.values() if not is_masked(fields["kernel"])]
        inputs = [axis_size(kernel, -2) for kernel in kernels]
        if len({*inputs}) > 1:
            raise ValueError(
                f"{where}: both directions must have the same input features; got {inputs}"
            )
        return ours.get("", ours)

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
        return self.rename.new_path(cell if is_rnn and self.rename.names(cell) else path)

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
        (
            (tuple(map(str, item.path)), "/".join(item.source), isinstance(item.value, Mapping))
            for item in items
            if not (isinstance(item.value, Mapping) and not item.value)
        ),
        key=lambda each: each[0],
    )
    for (path, source, is_layer), (other, other_source, _) in pairwise(named):
        if path != other[: len(path)]:
            continue
        if path == other or not is_layer:
            raise ValueError(
                f"{_FUNCTION}: two modules would get the name {'/'.join(path)!r}:"
                f" {source} and {other_source}"
            )
        where = repr("/".join(path)) if path else "the top level"
        raise ValueError(
            f"{_FUNCTION}: the arrays of {source or 'the whole tree'} would be in {where}, where"
            f" {other_source} is too: give one of them another path"
        )


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
