"""`unroll` and `advance` with the axes, order of time and keys of Flax."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from lstm_jax.advance import advance
from lstm_jax.inputs import checked_inputs
from lstm_jax.layers.carries import (
    CarryOrder,
    carry_like,
    check_carry_order,
    check_no_pair,
    check_parts,
    layer_carry,
    state_like,
    state_of,
)
from lstm_jax.layers.cells import feature_axes
from lstm_jax.masks import as_flags, check_lengths, in_int32, mask_of_lengths
from lstm_jax.options import DEFAULTS, Options
from lstm_jax.transforms.transform import AnyCell, batch_shape
from lstm_jax.types import PRNGKey, PyTree
from lstm_jax.unroll import prepare


def unroll_layer(
    function: str,
    cell: AnyCell,
    params: PyTree,
    inputs: PyTree,
    *,
    initial_carry: PyTree = None,
    carry_order: CarryOrder | None = "hc",
    carry_name: str = "initial_carry",
    seq_lengths: Int[ArrayLike, "..."] | None = None,
    time_major: bool = False,
    reverse: bool = False,
    keep_order: bool = False,
    mask: Bool[ArrayLike, "... T"] | None = None,
    reset: Bool[ArrayLike, "... T"] | None = None,
    key: PRNGKey | None = None,
    start: int | Int[Array, ""] = 0,
    options: Options = DEFAULTS,
) -> tuple[PyTree, Float[Array, "... T H"]]:
    """`lstm_jax.unroll` with the axes, order of time and argument names of Flax.

    Args:
      function: the public function to name in errors.
      cell: any cell.
      params: its parameters.
      inputs: ``[..., T, I]``, or ``[T, ..., I]`` with `time_major`; a cell may have more feature
        axes, or read a pytree.
      initial_carry: the state before the first step, with named fields, as a plain tuple, or an
        array for a state with one field; the cell's own when not given.
      carry_order: the order of plain pairs; None where they raise an error.
      carry_name: what the caller's argument for the initial carry is called, for errors.
      seq_lengths: number of steps of every row ``[...]``.
      time_major: whether time is the first axis of inputs, outputs, masks and resets.
      reverse: unroll from the last step to the first.
      keep_order: whether outputs with `reverse` stay in the order of the inputs; otherwise the
        output of the last step comes first, with padding at the end.
      mask: true at valid steps ``[..., T]``, in place of `seq_lengths`; they may be anywhere.
      reset: true where a row is reset ``[..., T]``.
      key: typed random key, for cells that draw random numbers.
      start: index of the first step, on which random numbers depend.
      options: the options of `lstm_jax.unroll`.

    Returns:
      ``(carry, outputs)``, the carry in the form of `layer_carry`.

    Raises:
      ValueError, TypeError: as `lstm_jax.unroll`.

    >>> import lstm_jax as lj
    >>> cell = lj.LSTM(3, 5)
    >>> params = cell.init(jax.random.key(0))
    >>> carry, outputs = unroll_layer("Recurrent", cell, params, jnp.ones((2, 7, 3)))
    >>> carry.h.shape, outputs.shape
    ((2, 5), (2, 7, 5))
    """
    if carry_order is not None:
        check_carry_order(function, carry_order)
    order = carry_order or "hc"
    state = initial_carry
    if state is not None:
        like = state_like(cell)
        if carry_order is None:
            check_no_pair(function, like, state)
        state = state_of(like, state, order)
        check_parts(function, like, state, carry_name)
    inputs = checked_inputs(function, cell, inputs, name="inputs")
    inputs = jax.tree.map(lambda leaf: _as_floats(leaf, params), inputs)
    axis, T, rows = _time_and_rows(function, cell, inputs, time_major)

    def time_first(array: jax.Array) -> jax.Array:
        return jnp.moveaxis(array, axis, 0)

    def steps(name: str, array: Any) -> Any:
        if array is None:
            return None
        array, shape = as_flags(function, name, array), (*rows[:axis], T, *rows[axis:])
        if array.shape != shape:
            raise ValueError(
                f"{function}: {name} must have shape {shape}, the axes of inputs without"
                f" features; got {array.shape}"
            )
        return time_first(array)

    valid = steps("mask", mask)
    if seq_lengths is not None:
        if valid is not None:
            raise ValueError(f"{function}: seq_lengths or mask can be given, not both")
        names = {"name": "seq_lengths", "inputs": "inputs"}
        seq_lengths = check_lengths(function, seq_lengths, T, rows, **names)
        valid = mask_of_lengths(seq_lengths, T)
    xs = jax.tree.map(time_first, inputs)
    call = prepare(
        function, cell, params, xs, state,
        mask=valid, reset=steps("reset", reset), reverse=reverse, options=options, key=key,
        start=start,
    )  # fmt: skip
    final, outputs, _ = call.compute()
    if reverse and not keep_order:
        outputs = jax.tree.map(lambda ys: reversed_outputs(ys, seq_lengths, valid), outputs)
    carry = layer_carry(final, initial_carry, order)
    return carry, jax.tree.map(lambda ys: jnp.moveaxis(ys, 0, axis), outputs)


def reversed_outputs(
    outputs: Float[Array, "T ... H"],
    lengths: Int[ArrayLike, "..."] | None,
    mask: Bool[Array, "T ..."] | None = None,
) -> Float[Array, "T ... H"]:
    """Outputs from the last valid step to the first; padding comes at the end, in its own order.

    >>> ys = jnp.arange(4.0).reshape(4, 1, 1)
    >>> reversed_outputs(ys, jnp.array([3])).ravel().tolist()
    [2.0, 1.0, 0.0, 3.0]
    >>> mask = jnp.array([True, False, True, False])
    >>> reversed_outputs(ys, None, mask[:, None]).ravel().tolist()
    [2.0, 0.0, 1.0, 3.0]
    """
    T = outputs.shape[0]
    t = jnp.arange(T, dtype=jnp.int32)
    if lengths is not None:
        lengths = jnp.minimum(in_int32(lengths), T)[None]
        t = t.reshape(T, *[1] * (lengths.ndim - 1))
        order = jnp.where(t < lengths, lengths - 1 - t, t)
    elif mask is not None:
        t = t.reshape(T, *[1] * (mask.ndim - 1))
        order = jnp.argsort(jnp.where(mask, -1 - t, t), axis=0)
    else:
        return outputs[::-1]
    order = order.reshape(order.shape + (1,) * (outputs.ndim - order.ndim))
    return jnp.take_along_axis(outputs, order, axis=0)


def advance_layer(
    cell: AnyCell,
    params: PyTree,
    carry: PyTree,
    x: PyTree,
    key: PRNGKey | None,
    carry_order: CarryOrder = "hc",
    *,
    broadcast: bool = False,
) -> tuple[PyTree, Float[Array, "... H"]]:
    """`lstm_jax.advance`, with the new carry in the structure of the old one, as Flax's loops need.

    Args:
      cell: any cell that goes step by step.
      params: its parameters.
      carry: ``s_{t-1}`` in any form of `state_of`, or None before the first step.
      x: input ``x_t`` ``[..., I]``.
      key: typed random key, for cells that draw random numbers.
      carry_order: the order of plain pairs.
      broadcast: whether the batch axes of the carry are broadcast to those of the input, as in
        Flax's cells.

    Returns:
      ``(carry, y_t)``.

    Raises:
      ValueError, TypeError: as `lstm_jax.advance`.

    >>> import lstm_jax as lj
    >>> cell, zeros = lj.LSTM(3, 5), jnp.zeros((2, 5))
    >>> params = cell.init(jax.random.key(0))
    >>> type(advance_layer(cell, params, (zeros, zeros), jnp.ones((2, 3)), None)[0])
    <class 'tuple'>
    """
    x = jax.tree.map(lambda leaf: _as_floats(leaf, params), x)
    like = state_like(cell)
    state = None if carry is None else state_of(like, carry, carry_order)
    if broadcast and jax.tree.structure(state) == jax.tree.structure(like):
        rows = batch_shape(cell, x)
        state = jax.tree.map(lambda own, given: _with_rows(given, rows, own.ndim), like, state)
    new, y = advance(cell, params, state, x, key=key)
    return (new if carry is None else carry_like(new, carry, carry_order)), y


def unroll_cell(
    cell: AnyCell,
    params: PyTree,
    inputs: PyTree,
    carry: PyTree,
    carry_order: CarryOrder,
    **call: Any,
) -> tuple[PyTree, Float[Array, "... T H"]]:
    """All steps of `advance_layer`, for the layers `RNN`, by `unroll_layer`.

    Args:
      cell: any cell.
      params: its parameters.
      inputs: ``[..., T, I]``, or ``[T, ..., I]`` with ``time_major=True``.
      carry: the carry before the first step, in any form of `state_of`.
      carry_order: the order of plain pairs.
      **call: arguments of `unroll_layer`.

    Returns:
      ``(carry, outputs)``, the new carry in the structure of the old one.

    >>> import lstm_jax as lj
    >>> cell, zeros = lj.LSTM(3, 5), jnp.zeros((2, 5))
    >>> params, inputs = cell.init(jax.random.key(0)), jnp.ones((2, 7, 3))
    >>> type(unroll_cell(cell, params, inputs, [zeros, zeros], "ch")[0])
    <class 'list'>
    """
    state = state_of(state_like(cell), carry, carry_order)
    final, outputs = unroll_layer("RNN", cell, params, inputs, initial_carry=state, **call)
    return carry_like(final, carry, carry_order), outputs


def step_shape(inputs: Any, feature_axes: int, time_major: bool) -> tuple[int, ...]:
    """The shape of one step of the inputs of an `RNN`.

    >>> step_shape(jnp.ones((2, 7, 3)), 1, time_major=False)
    (2, 3)
    """
    shape = jnp.shape(inputs)
    axis = 0 if time_major else max(len(shape) - feature_axes - 1, 0)
    return shape[:axis] + shape[axis + 1 :]


def resolve_flags(layer: Any, **arguments: bool | None) -> dict[str, bool]:
    """The flags of a call; where an argument is None, the attribute of the layer.

    Args:
      layer: an object with an attribute for each flag.
      **arguments: the flags that the call was given, or None.

    Returns:
      A value for each flag.

    >>> from types import SimpleNamespace
    >>> resolve_flags(SimpleNamespace(reverse=True), reverse=None)
    {'reverse': True}
    """
    return {
        name: getattr(layer, name) if value is None else value for name, value in arguments.items()
    }


def as_key(key: jax.Array | None) -> PRNGKey | None:
    """A typed key, from a typed or a raw key of Flax.

    >>> as_key(jax.random.PRNGKey(0)) == jax.random.key(0)
    Array(True, dtype=bool)
    """
    if key is None or jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    return jax.random.wrap_key_data(key)


def _time_and_rows(
    function: str, cell: AnyCell, inputs: PyTree, time_major: bool
) -> tuple[int, int, tuple[int, ...]]:
    """The time axis, its length, and the batch axes."""
    leaves = jax.tree.leaves(inputs)
    if not leaves or min(map(jnp.ndim, leaves)) < feature_axes(cell) + 1:
        axes = "[T, ..., features]" if time_major else "[..., T, features]"
        raise ValueError(
            f"{function}: inputs must have axes {axes}; got {jax.tree.map(jnp.shape, inputs)}"
        )

    def rows_without(axis: int) -> tuple[int, ...]:
        def one_step(leaf: jax.Array) -> jax.ShapeDtypeStruct:
            shape = (*leaf.shape[:axis], *leaf.shape[axis + 1 :])
            return jax.ShapeDtypeStruct(shape, leaf.dtype)

        return batch_shape(cell, jax.tree.map(one_step, inputs))

    rows = rows_without(0)
    if time_major:
        return 0, leaves[0].shape[0], rows
    axis = len(rows)  # the number of batch axes does not depend on which of them is time
    return axis, leaves[0].shape[axis], rows_without(axis)


def _with_rows(array: Any, rows: tuple[int, ...], features: int) -> Any:
    """An array with these batch axes, if it can be broadcast to them; or as it is."""
    shape = jnp.shape(array)
    wanted = rows + shape[max(len(shape) - features, 0) :]
    try:
        return array if shape == wanted else jnp.broadcast_to(array, wanted)
    except ValueError:
        return array


def _as_floats(leaf: Any, params: PyTree) -> jax.Array:
    """Integers in the dtype of the parameters, as Flax's layers allow them."""
    leaf = jnp.asarray(leaf)
    weights = jax.tree.leaves(params)
    if weights and jnp.issubdtype(leaf.dtype, jnp.integer):
        return leaf.astype(weights[0].dtype)
    return leaf
