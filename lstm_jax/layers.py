"""What layers for linen and for NNX have in common: axes, order of time, and names.

Flax puts time after the batch axes, calls lengths ``seq_lengths`` and a state a carry, and gives
the outputs of a reversed run in the order in which they came.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from lstm_jax.bidirectional import Merge
from lstm_jax.bidirectional import bidirectional as in_both_directions
from lstm_jax.cells import LSTM, ProjectedLSTM
from lstm_jax.kernels import Implementation, Padding, Remat
from lstm_jax.transforms import recurrent_dropout as drop_recurrent
from lstm_jax.transforms import stack
from lstm_jax.transforms.transform import AnyCell, batch_shape, check_cell, start
from lstm_jax.types import Cell, DType, Policy, PRNGKey, PyTree
from lstm_jax.unroll import unroll as unroll_cell

CellOrMaker = AnyCell | Callable[[int], AnyCell]
"""A cell, or a function from the number of input features to one."""

LEAST = {"kernel": (1, 4), "recurrent_kernel": (1, 4), "bias": (4,)}
"""The smallest shapes that an LSTM's initializers can be asked for: one input, one unit."""


def cell_for(function: str, cell: CellOrMaker, inputs: PyTree) -> AnyCell:
    """The cell that reads such inputs.

    Args:
      function: the public function to name in errors.
      cell: a cell, or a function from the number of input features to one.
      inputs: arrays whose last axis is features.

    Returns:
      A cell.

    Raises:
      TypeError: when it is neither, or the function gives something else.

    >>> import lstm_jax as lj
    >>> cell_for("Recurrent", lambda features: lj.LSTM(features, 5), jnp.ones((2, 7, 3)))
    LSTM(input_size=3, hidden_size=5)
    """
    if not isinstance(cell, Cell) and callable(cell) and not isinstance(cell, type):
        cell = cell(jax.tree.leaves(inputs)[0].shape[-1])
    check_cell(function, cell)
    return cell  # pyright: ignore[reportReturnType]


def over_both(
    function: str,
    forward: CellOrMaker,
    backward: CellOrMaker | None,
    merge: Any,
    inputs: PyTree,
) -> AnyCell:
    """The cell of both directions; a function that merges is left for the layer to call.

    Args:
      function: the public function to name in errors.
      forward: the cell that runs from the first step to the last, or a function that makes it.
      backward: the other one, or None for one like it.
      merge: one of the ways of `lstm_jax.bidirectional`, or a function.
      inputs: arrays whose last axis is features.

    Returns:
      A cell.

    >>> import lstm_jax as lj
    >>> over_both("Bidirectional", lj.GRU(3, 5), None, "sum", jnp.ones((2, 7, 3))).output_size
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
    dtype: DType | None = None,
    param_dtype: DType = jnp.float32,
    **settings: Any,
) -> AnyCell:
    """The cell of a ready-made LSTM layer: as many layers and directions as asked for.

    Args:
      input_size: number of input features ``I``.
      features: number of hidden units ``H`` of every layer and direction.
      num_layers: number of layers.
      bidirectional: whether every layer runs in both directions.
      merge: how the two directions are merged.
      projection_size: number of units ``P`` that are shown and feed back, where there is a
        projection.
      dropout: rate of dropout between layers, drawn anew at every step.
      recurrent_dropout: rate of dropout of the hidden state, with one mask for a sequence.
      dtype: dtype of products and outputs; that of the parameters when not given.
      param_dtype: dtype of the parameters.
      **settings: further fields of the cell: initializers and activations, those that are not None.

    Returns:
      A cell.

    Raises:
      ValueError: when there is no layer, or a size or rate is none.

    >>> lstm_cell(3, 5, num_layers=2, bidirectional=True).output_size
    10
    """
    if num_layers < 1:
        raise ValueError(f"LSTM: num_layers must be at least 1; got {num_layers}")
    policy = Policy(param=param_dtype, compute=dtype)
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
    shown = features if projection_size is None else projection_size
    if bidirectional and merge == "concat":
        shown = 2 * shown
    return stack(first, *[layer(shown)] * (num_layers - 1), dropout=dropout)


def run_layer(
    function: str,
    cell: AnyCell,
    params: PyTree,
    inputs: PyTree,
    *,
    initial_carry: PyTree = None,
    seq_lengths: Int[ArrayLike, "..."] | None = None,
    time_major: bool = False,
    reverse: bool = False,
    keep_order: bool = False,
    mask: Bool[ArrayLike, "... T"] | None = None,
    reset: Bool[ArrayLike, "... T"] | None = None,
    key: PRNGKey | None = None,
    start: int | Int[Array, ""] = 0,
    unroll: int = 1,
    padding: Padding = "zero",
    remat: Remat = None,
    implementation: Implementation | None = None,
) -> tuple[PyTree, Float[Array, "... T H"]]:
    """`lstm_jax.unroll` with Flax's axes and order of time.

    Args:
      function: the public function to name in errors.
      cell: any cell.
      params: its parameters.
      inputs: ``[..., T, I]``, or ``[T, ..., I]`` where time is major; cells may have more axes of
        features, or read a pytree.
      initial_carry: the state before the first step; the cell's own when not given.
      seq_lengths: steps of every row ``[...]``.
      time_major: whether time is the first axis, of masks as well.
      reverse: run from the last step to the first.
      keep_order: whether the outputs of a reversed run are in the order of the inputs; otherwise
        they are in the order in which they came, with padding at the end.
      mask: true where a step is there ``[..., T]``, in place of lengths.
      reset: true where a row starts anew ``[..., T]``.
      key: typed random key, for cells that draw random numbers.
      start: index of the first step, which random numbers depend on.
      unroll: steps per iteration of the compiled loop.
      padding: what outputs show at masked steps.
      remat: what a gradient keeps of the run.
      implementation: the kernel to use; None for the best that applies.

    Returns:
      ``(carry, outputs)``.

    Raises:
      ValueError, TypeError: as `lstm_jax.unroll`.

    >>> import lstm_jax as lj
    >>> cell = lj.LSTM(3, 5)
    >>> params = cell.init(jax.random.key(0))
    >>> carry, outputs = run_layer("Recurrent", cell, params, jnp.ones((2, 7, 3)))
    >>> carry.h.shape, outputs.shape
    ((2, 5), (2, 7, 5))
    """
    inputs = jax.tree.map(lambda leaf: _as_floats(leaf, params), inputs)
    axis = 0 if time_major else _batch_axes(function, cell, inputs)

    def time_first(array: Any) -> Any:
        return None if array is None else jnp.moveaxis(jnp.asarray(array), axis, 0)

    final, outputs = unroll_cell(
        cell,
        params,
        jax.tree.map(time_first, inputs),
        initial_carry,
        lengths=seq_lengths,
        mask=time_first(mask),
        reset=time_first(reset),
        reverse=reverse,
        padding=padding,
        remat=remat,
        unroll=unroll,
        implementation=implementation,
        key=key,
        start=start,
    )
    if reverse and not keep_order:
        outputs = jax.tree.map(lambda ys: as_they_came(ys, seq_lengths), outputs)
    return final, jax.tree.map(lambda ys: jnp.moveaxis(ys, 0, axis), outputs)


def as_they_came(
    outputs: Float[Array, "T ... H"], lengths: Int[ArrayLike, "..."] | None
) -> Float[Array, "T ... H"]:
    """The outputs of a reversed run, the first step that was run first; padding stays at the end.

    >>> ys = jnp.arange(4.0).reshape(4, 1, 1)
    >>> as_they_came(ys, jnp.array([3])).ravel().tolist()
    [2.0, 1.0, 0.0, 3.0]
    """
    if lengths is None:
        return outputs[::-1]
    lengths = jnp.clip(jnp.asarray(lengths), 0, outputs.shape[0])
    t = jnp.arange(outputs.shape[0], dtype=lengths.dtype).reshape(-1, *[1] * lengths.ndim)
    order = jnp.where(t < lengths, lengths - 1 - t, t)
    order = order.reshape(order.shape + (1,) * (outputs.ndim - order.ndim))
    return jnp.take_along_axis(outputs, order, axis=0)


def carry_for(function: str, cell: CellOrMaker, input_shape: Sequence[int]) -> PyTree:
    """The state before the first step, for one step's input of this shape.

    A learned initial state is a parameter, which is not known here: it is the one that it is
    learned from.

    >>> import lstm_jax as lj
    >>> carry_for("RNNCell", lj.LSTM(3, 5), (2, 3)).h.shape
    (2, 5)
    """
    x = jax.ShapeDtypeStruct(tuple(input_shape), jnp.float32)
    cell = cell_for(function, cell, x)
    return start(cell, None, batch_shape(cell, x))


def feature_axes(cell: CellOrMaker) -> int:
    """Axes of features in an input: one, but for cells over space.

    >>> import lstm_jax as lj
    >>> feature_axes(lj.LSTM(3, 5)), feature_axes(lj.ConvLSTM((8, 8, 3), 4, kernel_size=3))
    (1, 3)
    """
    if not isinstance(cell, Cell):
        return 1
    many = 16
    return many - len(batch_shape(cell, jax.ShapeDtypeStruct((1,) * many, jnp.float32)))


def param_shapes(cell: AnyCell) -> PyTree:
    """The shapes and dtypes of what a cell's `init` draws.

    >>> import lstm_jax as lj
    >>> param_shapes(lj.LSTM(3, 5)).bias.shape
    (20,)
    """
    return jax.eval_shape(cell.init, jax.random.key(0))


def or_else(given: bool | None, otherwise: bool) -> bool:
    """What a call says, or where it says nothing, what the layer does.

    >>> or_else(None, True), or_else(False, True)
    (True, False)
    """
    return otherwise if given is None else given


def as_key(key: jax.Array | None) -> PRNGKey | None:
    """A typed key from any that Flax hands out.

    >>> as_key(jax.random.PRNGKey(0)) == jax.random.key(0)
    Array(True, dtype=bool)
    """
    if key is None or jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    return jax.random.wrap_key_data(key)


def _batch_axes(function: str, cell: AnyCell, inputs: PyTree) -> int:
    """The number of batch axes, which is where the time axis lies when it is not the first."""
    axes = {jnp.ndim(leaf) for leaf in jax.tree.leaves(inputs)}
    if not axes or min(axes) < feature_axes(cell) + 1:
        raise ValueError(
            f"{function}: inputs must have axes [..., T, features]; got"
            f" {jax.tree.map(jnp.shape, inputs)}"
        )
    # Any one axis may stand for time: the cell is asked for their number alone.
    one_step = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), inputs)
    return len(batch_shape(cell, one_step))


def _as_floats(leaf: Any, params: PyTree) -> jax.Array:
    """Integers in the dtype of the parameters: Flax's layers take them as well."""
    leaf = jnp.asarray(leaf)
    weights = jax.tree.leaves(params)
    if weights and jnp.issubdtype(leaf.dtype, jnp.integer):
        return leaf.astype(weights[0].dtype)
    return leaf
