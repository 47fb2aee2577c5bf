"""The cell of a layer: given, made for its inputs, or composed for the layer `LSTM`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.bidirectional import Merge, check_merge
from lstm_jax.bidirectional import bidirectional as in_both_directions
from lstm_jax.cells import LSTM, ProjectedLSTM
from lstm_jax.cells.cell import Activation
from lstm_jax.transforms import recurrent_dropout as drop_recurrent
from lstm_jax.transforms import stack
from lstm_jax.transforms.step_rng import check_rate
from lstm_jax.transforms.transform import AnyCell, batch_shape, initial_state
from lstm_jax.transforms.wrap import check_is_cell
from lstm_jax.types import Cell, DType, Initializer, Policy, PyTree, check_size

CellOrMaker = AnyCell | Callable[[int], AnyCell]
"""A cell, or a function from the number of input features to one."""


def cell_for(function: str, cell: CellOrMaker, inputs: PyTree) -> AnyCell:
    """The cell of a layer for given inputs.

    Args:
      function: the public function to name in errors.
      cell: a cell, or a function from the number of input features to one.
      inputs: arrays with features on the last axis; None if a function is not allowed.

    Returns:
      A cell.

    Raises:
      TypeError: when it is neither, or the function returns something else.

    >>> import lstm_jax as lj
    >>> cell_for("Recurrent", lambda features: lj.LSTM(features, 5), jnp.ones((2, 7, 3)))
    LSTM(input_size=3, hidden_size=5)
    """
    is_function = not isinstance(cell, Cell) and callable(cell) and not isinstance(cell, type)
    if is_function and inputs is not None:
        cell = cell(jax.tree.leaves(inputs)[0].shape[-1])  # pyright: ignore[reportCallIssue]
    check_is_cell(function, cell)
    return cell  # pyright: ignore[reportReturnType]


def bidirectional_cell(
    function: str,
    forward: CellOrMaker,
    backward: CellOrMaker | None,
    merge: Any,
    inputs: PyTree,
) -> AnyCell:
    """The cell of both directions. If `merge` is a function, the layer calls it afterwards.

    Args:
      function: the public function to name in errors.
      forward: the cell that is unrolled from the first step to the last, or a function that makes
        it.
      backward: that of the other direction, or None for a copy of `forward`.
      merge: as in `lstm_jax.bidirectional`, or a function of two outputs.
      inputs: arrays with features on the last axis; None if functions that make cells are not
        allowed.

    Returns:
      A cell.

    >>> import lstm_jax as lj
    >>> inputs = jnp.ones((2, 7, 3))
    >>> bidirectional_cell("Bidirectional", lj.GRU(3, 5), None, "sum", inputs).output_size
    5
    """
    cells = [cell_for(function, c, inputs) for c in (forward, backward) if c is not None]
    return in_both_directions(*cells, merge="none" if callable(merge) else merge)


def lstm_cell(
    input_size: int,
    features: int,
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    merge: Merge = "concat",
    projection_size: int | None = None,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    gate_fn: Activation | None = None,
    activation_fn: Activation | None = None,
    kernel_init: Initializer | None = None,
    recurrent_kernel_init: Initializer | None = None,
    bias_init: Initializer | None = None,
    dtype: DType | None = None,
    param_dtype: DType = jnp.float32,
) -> AnyCell:
    """The cell of the layer `LSTM`: layers, directions, projection and dropout.

    Args:
      input_size: number of input features ``I``.
      features: number of hidden units ``H`` of every layer and direction.
      num_layers: number of layers.
      bidirectional: whether every layer is unrolled in both directions.
      merge: how the two directions are merged; ``"none"`` with one layer only.
      projection_size: number of units ``P`` of the projection; None for no projection.
      dropout: rate of dropout between layers, with a new mask at every step; no effect with one
        layer.
      recurrent_dropout: rate of dropout of the hidden state, with one mask for a sequence.
      gate_fn: activation of the gates; None, here and below, for the default of the cell.
      activation_fn: activation of candidate and output.
      kernel_init: initializer of input kernels.
      recurrent_kernel_init: initializer of recurrent kernels.
      bias_init: initializer of the bias.
      dtype: dtype of products and outputs; that of the parameters when not given.
      param_dtype: dtype of the parameters.

    Returns:
      A cell.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1, a rate is not a probability, or `merge` has no such value.

    >>> lstm_cell(3, 5, num_layers=2, bidirectional=True).output_size
    10
    """
    for name, size in (("features", features), ("num_layers", num_layers)):
        check_size("LSTM", name, size)
    for name, rate in (("dropout", dropout), ("recurrent_dropout", recurrent_dropout)):
        check_rate("LSTM", name, rate)
    check_merge("LSTM", merge)
    if bidirectional and merge == "none" and num_layers > 1:
        raise ValueError(
            f"LSTM: merge='none' returns two outputs, but a layer has one input; got {num_layers=}"
        )
    policy = Policy(param=param_dtype, compute=dtype)
    settings: dict[str, Any] = {
        "gate_activation": gate_fn,
        "activation": activation_fn,
        "kernel_init": kernel_init,
        "recurrent_kernel_init": recurrent_kernel_init,
        "bias_init": bias_init,
    }
    settings = {name: value for name, value in settings.items() if value is not None}

    def layer(inputs: int) -> AnyCell:
        cell: AnyCell
        if projection_size is None:
            cell = LSTM(inputs, features, dtype=policy, **settings)
        else:
            cell = ProjectedLSTM(
                inputs, features, dtype=policy, projection_size=projection_size, **settings
            )
        if recurrent_dropout:
            cell = drop_recurrent(cell, recurrent_dropout)
        return in_both_directions(cell, merge=merge) if bidirectional else cell

    first = layer(input_size)
    if num_layers == 1:
        return first
    outputs = features if projection_size is None else projection_size
    if bidirectional and merge == "concat":
        outputs = 2 * outputs
    return stack(first, *[layer(outputs)] * (num_layers - 1), dropout=dropout)


def initial_carry(function: str, cell: CellOrMaker, input_shape: Sequence[int]) -> PyTree:
    """The state before the first step, for one step's input of this shape.

    The parameters are not known here: instead of a learned initial state it is the cell's own, with
    which the learned one started.

    >>> import lstm_jax as lj
    >>> initial_carry("RNNCell", lj.LSTM(3, 5), (2, 3)).h.shape
    (2, 5)
    """
    x = jax.ShapeDtypeStruct(tuple(input_shape), jnp.float32)
    cell = cell_for(function, cell, x)
    return initial_state(cell, None, batch_shape(cell, x))


def feature_axes(cell: CellOrMaker) -> int:
    """Number of feature axes of an input: one, except for convolutional cells.

    >>> import lstm_jax as lj
    >>> feature_axes(lj.LSTM(3, 5)), feature_axes(lj.ConvLSTM((8, 8, 3), 4, kernel_size=3))
    (1, 3)
    """
    if not isinstance(cell, Cell):
        return 1
    # A cell returns the batch axes of an input: of many axes, the others are feature axes.
    many = 16
    return many - len(batch_shape(cell, jax.ShapeDtypeStruct((1,) * many, jnp.float32)))
