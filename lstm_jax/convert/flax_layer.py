"""Layers of Flax: where the cells are in a tree or in an nnx module, and conversion of one layer.

An `RNN` has its cell under ``cell``, and a `Bidirectional` has two RNNs under ``forward_rnn`` and
``backward_rnn``; the parameters of a cell that both RNNs share are under one of them. Lists of
layers are called ``layers_0``, ``layers_1`` in linen, and have integers for names in nnx.
`flax_cells` describes the cells.
"""

import re
from collections.abc import Mapping
from typing import Any

from lstm_jax.convert import flax_cells
from lstm_jax.convert.checks import check_names
from lstm_jax.convert.flax_cells import Arrays, FlaxCell, is_masked
from lstm_jax.convert.flax_conv import LINEN_CONV_LSTM, LINEN_CONV_LSTM_NO_BIAS, FlaxConvLSTM
from lstm_jax.convert.layer_params import Layer, is_stack, natural_order

RNNS = ("forward_rnn", "backward_rnn")
"""Names of the RNNs in a `Bidirectional`."""

CELLS = (
    flax_cells.LINEN_LSTM,
    flax_cells.NNX_LSTM,
    flax_cells.NNX_OPTIMIZED_LSTM,
    flax_cells.LINEN_GRU,
    flax_cells.NNX_GRU,
    flax_cells.LINEN_SIMPLE,
    flax_cells.NNX_SIMPLE,
    LINEN_CONV_LSTM,
    LINEN_CONV_LSTM_NO_BIAS,
)
"""All cells of Flax that have a counterpart here."""

MGU_PARTS = {"if", "in", "hf", "hn"}
"""Names of the linear layers in `linen.MGUCell`, which has no counterpart."""

_RNG_STREAM = "rngs"  # an attribute of nnx layers for the initial carry; not a parameter
_ATTRIBUTES = {"params", "cell", *RNNS, "layers", "kernel", "bias"} | {
    name.split("/")[0] for cell in CELLS for name in cell.names
}
_NUMBERED = re.compile(r"(layers_)?\d+")

AnyFlaxCell = FlaxCell | FlaxConvLSTM


def layer_nodes(function: str, theirs: Any) -> tuple[list[tuple[str, Any]], bool]:
    """Find the layers in a layer, or in a list of layers.

    Args:
      function: the public function to name in errors.
      theirs: as for `flax.to_params`.

    Returns:
      The path and the subtree or module of each layer, from the input up, and whether they are
      those of a list.

    Raises:
      ValueError: when the order is not known.
    """
    if is_stack(theirs):
        return [("", each) for each in theirs], True
    children = children_of(theirs)
    for name in ("params", "layers"):  # `nnx.Sequential` has its list under the second
        if children.keys() == {name}:
            return layer_nodes(function, children[name])
    by_name = {str(name): child for name, child in children.items()}
    order = [*by_name]
    if by_name and all(map(_NUMBERED.fullmatch, by_name)):
        order = natural_order(by_name)
    elif by_name.keys() & {"cell", *RNNS} or not all(map(cells_of, by_name.values())) or not order:
        return [("", theirs)], False
    elif any(isinstance(child, Mapping) for child in by_name.values()):
        listed = ", ".join(f"theirs[{name!r}]" for name in by_name)
        raise ValueError(
            f"{function}: these names do not tell the order of the layers; select one, or pass"
            f" a list from the input up, such as [{listed}]"
        )
    return [(f"{name}/", by_name[name]) for name in order], True


def layer_of(function: str, path: str, node: Any) -> Layer:
    """Make the parameters of a cell, an `RNN` or a `Bidirectional`.

    Args:
      function: the public function to name in errors.
      path: the path of the node, to name in errors, with a slash at its end.
      node: its subtree, or ``{"params": ...}``, or its nnx module.

    Returns:
      The parameters of one direction or two; the same object twice if both share a cell.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.
      ValueError: when the names or shapes are not those of a cell.
    """
    children = children_of(node)
    if children.keys() == {"params"}:
        return layer_of(function, path, children["params"])
    if children.keys() & set(RNNS):
        check_names(function, children, [name for name in RNNS if name in children])
        rnns = _rnns(children) or {RNNS[0]: {}}
        cells = [_direction(function, f"{path}{name}/", rnn) for name, rnn in rnns.items()]
        return cells[0], cells[-1]
    return (_direction(function, path, node),)


def cells_of(node: Any) -> dict[str, Any]:
    """Find the cells of a layer.

    Args:
      node: a subtree or an nnx module.

    Returns:
      The subtree of the cell under ``""``; those of a `Bidirectional` under ``"forward"`` and
      ``"backward"``; nothing if the node is not a cell, an `RNN` or a `Bidirectional`.

    >>> cells_of({"cell": {"i": {"kernel": 1.0}}})
    {}
    """
    children = children_of(node)
    if find_cell(node):
        return {"": node}
    if children.keys() == {"cell"}:
        return {"": children["cell"]} if find_cell(children["cell"]) else {}
    if children and children.keys() <= set(RNNS):
        found = {name: cells_of(rnn).get("") for name, rnn in _rnns(children).items()}
        if not found or not all(found.values()):
            return {}
        cells = {name.removesuffix("_rnn"): cell for name, cell in found.items()}
        return cells if len(cells) == 2 else {"": next(iter(cells.values()))}
    return {}


def find_cell(node: Any) -> AnyFlaxCell | None:
    """Return which cell a subtree is, or None.

    Raises:
      ValueError: when arrays are missing without which two cells of nnx are the same.
    """
    children = children_of(node)
    parts = {cell: {name.split("/")[0] for name in cell.names} for cell in CELLS}
    same = [cell for cell in CELLS if parts[cell] == children.keys()]
    if not same or len(children) > 2:  # names of gates leave no doubt
        return next(iter(same), None)
    arrays = cell_arrays(node)
    same = [cell for cell in same if {*cell.names} == arrays.keys()]
    if not any(is_masked(array) for name, array in arrays.items() if name.endswith("kernel")):
        return next((cell for cell in same if cell.fits(arrays)), None)
    if len(same) > 1:
        raise ValueError(
            f"flax: {' or '.join(cell.name for cell in same)}? Without the kernels, which are"
            " masked here, the two have the same names"
        )
    return next(iter(same), None)


def cell_arrays(node: Any) -> Arrays:
    """Return the arrays of a cell by path."""
    return {
        f"{part}/{name}": leaf
        for part, dense in children_of(node).items()
        for name, leaf in children_of(dense).items()
    }


def children_of(node: Any) -> dict[Any, Any]:
    """Return the entries of a mapping or an nnx module by name, without random streams."""
    if isinstance(node, Mapping):
        return {name: node[name] for name in node if name != _RNG_STREAM}
    if hasattr(node, "__dict__") and not hasattr(node, "shape"):
        return {
            name: value
            for name, value in vars(node).items()
            if (name in _ATTRIBUTES or name.isdigit()) and value is not None
        }
    return {}


def _rnns(children: Mapping[str, Any]) -> dict[str, Any]:
    """Return the RNNs of a `Bidirectional` that have parameters of their own."""
    rnns = {
        name: children[name] for name in RNNS if name in children and children_of(children[name])
    }
    cells = [children_of(rnn).get("cell") for rnn in rnns.values()]
    tied = len(cells) == 2 and cells[0] is not None and cells[0] is cells[1]
    return {RNNS[0]: rnns[RNNS[0]]} if tied else rnns


def _direction(function: str, path: str, node: Any) -> Any:
    """Make the parameters of a cell, or of an `RNN` with one."""
    children = children_of(node)
    if children.keys() == {"cell"}:
        return _direction(function, f"{path}cell/", children["cell"])
    if children.keys() == MGU_PARTS:
        raise ValueError(f"{function}: lstm_jax has no cell for a linen.MGUCell")
    arrays = cell_arrays(node)
    cell = find_cell(node) or max(CELLS, key=lambda cell: len(arrays.keys() & {*cell.names}))
    got = [path + str(name) for name in arrays or children]
    check_names(function, got, [path + name for name in cell.names])
    return cell.params(**cell.to_fields(function, path, arrays))
