"""The cell of a layer: given, made for its inputs, or composed for a ready-made layer."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.bidirectional import bidirectional as in_both_directions
from lstm_jax.bidirectional import check_merge
from lstm_jax.cells import GRU, LSTM, ProjectedLSTM, TanhRNN
from lstm_jax.initializers import preset
from lstm_jax.layers.fields import LayerFields
from lstm_jax.transforms import recurrent_dropout as drop_recurrent
from lstm_jax.transforms import stack
from lstm_jax.transforms.sizes import output_size
from lstm_jax.transforms.step_rng import check_rate
from lstm_jax.transforms.transform import AnyCell, batch_shape, initial_state
from lstm_jax.transforms.wrap import check_is_cell
from lstm_jax.types import Cell, Initializer, Policy, PyTree, check_size

CellOrMaker = AnyCell | Callable[[Any], AnyCell]
"""A cell, or a function from the number of input features to one.

With several feature axes the function gets their shape in place of the number.
"""


def cell_for(function: str, cell: CellOrMaker, inputs: PyTree, axes: int = 1) -> AnyCell:
    """The cell of a layer for given inputs.

    Args:
      function: the public function to name in errors.
      cell: a cell, or a function that makes one.
      inputs: arrays with features on the last axes; None if a function is not allowed.
      axes: number of feature axes, for a function: it is called with the number of features, or
        with the shape of several axes.

    Returns:
      A cell.

    Raises:
      TypeError: when it is neither, or the function returns something else.
      ValueError: when `axes` is below 1, or above the number of axes of the inputs.

    >>> import lstm_jax as lj
    >>> cell_for("Recurrent", lambda features: lj.LSTM(features, 5), jnp.ones((2, 7, 3)))
    LSTM(input_size=3, hidden_size=5)
    >>> images = jnp.ones((2, 7, 8, 8, 3))
    >>> make = lambda shape: lj.ConvLSTM(shape, 4, kernel_size=3)
    >>> cell_for("Recurrent", make, images, axes=3).input_shape
    (8, 8, 3)
    """
    check_size(function, "feature_axes", axes)
    check_no_module(function, cell)
    is_function = not isinstance(cell, Cell) and callable(cell) and not isinstance(cell, type)
    if is_function and inputs is not None:
        shape = tuple(jax.tree.leaves(inputs)[0].shape)
        if len(shape) < axes:
            raise ValueError(f"{function}: inputs must have {axes} feature axes; got shape {shape}")
        features = shape[-1] if axes == 1 else shape[-axes:]
        try:
            cell = cell(features)  # pyright: ignore[reportCallIssue]
        except Exception as error:
            if axes == 1 and len(shape) > 3:
                error.add_note(
                    f"{function}: the function was called with the number of features, {features};"
                    " with feature_axes=3, say, it is called with the shape of three axes"
                )
            raise
    check_is_cell(function, cell)
    return cell  # pyright: ignore[reportReturnType]


def check_no_module(function: str, cell: Any) -> None:
    """Raise where a module of Flax is given as a cell: it is called like a function.

    >>> from lstm_jax.linen import GRUCell
    >>> check_no_module("Recurrent", GRUCell(5))
    Traceback (most recent call last):
    TypeError: Recurrent: cell must be a cell such as LSTM(3, 5), not a module of Flax; got\
 GRUCell, which RNN takes
    """
    is_step = hasattr(cell, "initialize_carry")
    if is_step or hasattr(getattr(cell, "cell", None), "initialize_carry"):
        taker = "RNN" if is_step else "Flax's Bidirectional"
        raise TypeError(
            f"{function}: cell must be a cell such as LSTM(3, 5), not a module of Flax; got"
            f" {type(cell).__name__}, which {taker} takes"
        )


def check_is_step(function: str, cell: Any) -> None:
    """Raise unless it is a module of one step, for Flax's loops.

    >>> import lstm_jax as lj
    >>> check_is_step("RNN", lj.LSTM(3, 5))
    Traceback (most recent call last):
    TypeError: RNN: cell must be a module of one step such as LSTMCell; got LSTM(input_size=3,\
 hidden_size=5): give RNNCell(cell), or use Recurrent(cell) in place of the RNN
    """
    if hasattr(cell, "initialize_carry"):
        return
    got = f"{function}: cell must be a module of one step such as LSTMCell; got"
    if isinstance(cell, Cell):
        raise TypeError(
            f"{got} {cell}: give RNNCell(cell), or use Recurrent(cell) in place of the {function}"
        )
    name = type(cell).__name__
    is_layer = hasattr(cell, "return_carry")
    raise TypeError(f"{got} {name}" + (", which is a layer already" if is_layer else ""))


def bidirectional_cell(
    function: str,
    forward: CellOrMaker,
    backward: CellOrMaker | None,
    merge: Any,
    inputs: PyTree,
    *,
    tied: bool = False,
    axes: int = 1,
) -> AnyCell:
    """The cell of both directions. If `merge` is a function, the layer calls it afterwards.

    Args:
      function: the public function to name in errors.
      forward: the cell that is unrolled from the first step to the last, or a function that makes
        it.
      backward: the cell of the other direction; None for a copy of `forward`.
      merge: as in `lstm_jax.bidirectional`, or a function of two outputs.
      inputs: arrays with features on the last axes; None if functions that make cells are not
        allowed.
      tied: whether both directions have the same parameters.
      axes: number of feature axes, for functions that make cells.

    Returns:
      A cell.

    >>> import lstm_jax as lj
    >>> inputs = jnp.ones((2, 7, 3))
    >>> bidirectional_cell("Bidirectional", lj.GRU(3, 5), None, "sum", inputs).output_size
    5
    """
    cells = [cell_for(function, c, inputs, axes) for c in (forward, backward) if c is not None]
    return in_both_directions(*cells, merge="none" if callable(merge) else merge, tied=tied)


def layer_cell(
    function: str,
    input_size: int,
    features: int,
    fields: LayerFields,
    inits: Mapping[str, Initializer] = MappingProxyType({}),
) -> AnyCell:
    """The cell of a ready-made layer: layers, directions, projection and dropout.

    Args:
      function: the public function to name in errors.
      input_size: number of input features ``I``.
      features: number of hidden units ``H`` of every layer and direction.
      fields: the arguments of the layer, or the layer with these attributes.
      inits: initializers by the names of the cell's fields, before those of the preset.

    Returns:
      A cell.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1, a rate is not a probability, `merge` has no such value, or
        there is no such preset.

    >>> from lstm_jax.layers.fields import GRUFields
    >>> layer_cell("GRU", 3, 5, GRUFields(num_layers=2, bidirectional=True)).output_size
    10
    """
    for name, size in (("features", features), ("num_layers", fields.num_layers)):
        check_size(function, name, size)
    for name in ("dropout", "recurrent_dropout"):
        check_rate(function, name, getattr(fields, name))
    check_merge(function, fields.merge)
    if fields.bidirectional and fields.merge == "none" and fields.num_layers > 1:
        raise ValueError(
            f"{function}: merge='none' returns two outputs, but a layer has one input; got"
            f" num_layers={fields.num_layers}"
        )
    if fields.tied and not fields.bidirectional:
        raise ValueError(f"{function}: tied=True is for bidirectional=True; got False")

    def layer(inputs: int) -> AnyCell:
        cell = _single_cell(function, inputs, features, fields, inits)
        if fields.recurrent_dropout:
            cell = drop_recurrent(cell, fields.recurrent_dropout)
        if fields.bidirectional:
            return in_both_directions(cell, merge=fields.merge, tied=fields.tied)
        return cell

    first = layer(input_size)
    if fields.num_layers == 1:
        return first
    outputs = output_size(first)
    assert outputs is not None
    return stack(first, *[layer(outputs)] * (fields.num_layers - 1), dropout=fields.dropout)


_CELLS: dict[str, Any] = {
    "LSTM": LSTM,
    "ProjectedLSTM": ProjectedLSTM,
    "GRU": GRU,
    "TanhRNN": TanhRNN,
}

_CELL_FIELDS = {
    "gate_fn": "gate_activation",
    "activation_fn": "activation",
    "reset_after": "reset_after",
    "projection_size": "projection_size",
}
"""Arguments of the layers, with Flax's names, and the fields of cells that they set."""


def gate_blocks(fields: Any) -> int:
    """Number of gate blocks of the cell of a layer.

    >>> from lstm_jax.layers.fields import GRUFields
    >>> gate_blocks(GRUFields)
    3
    """
    return _CELLS[fields.cell_name].gate_blocks


def _single_cell(
    function: str,
    inputs: int,
    features: int,
    fields: LayerFields,
    inits: Mapping[str, Initializer],
) -> AnyCell:
    """The cell of one layer in one direction."""
    settings = {cell: getattr(fields, name, None) for name, cell in _CELL_FIELDS.items()}
    settings = {name: value for name, value in settings.items() if value is not None}
    kind: Any = "ProjectedLSTM" if "projection_size" in settings else fields.cell_name
    if fields.preset is not None:
        settings |= preset(fields.preset, inputs, features, cell=kind, t_max=fields.t_max)
    elif fields.t_max is not None:
        raise ValueError(f"{function}: t_max is for preset='chrono'; got no preset")
    policy = Policy(param=fields.param_dtype, compute=fields.dtype)
    return _CELLS[kind](inputs, features, dtype=policy, **(settings | dict(inits)))


def initial_carry(
    function: str, cell: CellOrMaker, input_shape: Sequence[int], axes: int = 1
) -> PyTree:
    """The state before the first step, for one step's input of this shape.

    The parameters are not known here: instead of a learned initial state it is the cell's own, with
    which the learned one started.

    >>> import lstm_jax as lj
    >>> initial_carry("RNNCell", lj.LSTM(3, 5), (2, 3)).h.shape
    (2, 5)
    """
    x = jax.ShapeDtypeStruct(tuple(input_shape), jnp.float32)
    cell = cell_for(function, cell, x, axes)
    return initial_state(cell, None, batch_shape(cell, x))


def feature_axes(cell: CellOrMaker, axes: int = 1) -> int:
    """Number of feature axes of an input: of a cell its own, of a function those it is called with.

    >>> import lstm_jax as lj
    >>> feature_axes(lj.LSTM(3, 5)), feature_axes(lj.ConvLSTM((8, 8, 3), 4, kernel_size=3))
    (1, 3)
    """
    if not isinstance(cell, Cell):
        return axes
    # A cell returns the batch axes of an input: of many axes, the others are feature axes.
    many = 16
    return many - len(batch_shape(cell, jax.ShapeDtypeStruct((1,) * many, jnp.float32)))
