"""Truncated backpropagation through time."""

import dataclasses
from typing import Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from lstm_jax.masks import Flags, forward_fill
from lstm_jax.options import OptionArgs, Options, takes_keywords_of
from lstm_jax.transforms.transform import needs_sequence
from lstm_jax.types import Cell, P, PRNGKey, PyTree, S, Step, check_size
from lstm_jax.unroll import prepare


@takes_keywords_of(Options)
def tbptt(
    cell: Cell[P, S] | Step[P, S],
    params: P,
    xs: PyTree,
    state: S | None = None,
    *,
    k1: int,
    k2: int | None = None,
    lengths: Int[ArrayLike, "..."] | None = None,
    mask: Flags | None = None,
    reset: Flags | None = None,
    key: PRNGKey | None = None,
    start: int | Int[Array, ""] = 0,
    **options: Unpack[OptionArgs],
) -> tuple[S, Float[Array, "T ... H"]]:
    """`unroll` with truncated gradients: for each chunk of `k1` steps, go back `k2` steps.

    Values are those of `unroll`. The gradient of the outputs of a chunk goes back to the state `k2`
    steps before the end of the chunk, which counts as a constant. With equal `k1` and `k2`, the
    gradient is cut between chunks. With a larger `k2`, it reaches into earlier chunks, whose steps
    are computed again; all of these windows are computed in parallel. `state` (or a learned initial
    state) gets the gradients of the windows that reach it.

    To update parameters between chunks, unroll one chunk at a time and stop the gradient of the
    state in between: ``state = jax.lax.stop_gradient(final)``.

    Args:
      cell: a cell with single steps, or a bare step function.
      params: the cell's parameters.
      xs: inputs ``[T, ..., I]``.
      state: state before the first step; a cell's own initial state when not given.
      k1: steps of a chunk.
      k2: steps that its gradient goes back, at least `k1`; `k1` when not given.
      lengths: as in `unroll`.
      mask: as in `unroll`.
      reset: as in `unroll`.
      key: as in `unroll`.
      start: as in `unroll`.
      **options: the fields of `Options`.

    Returns:
      ``(final, outputs)`` as `unroll`; the gradient of `final` is cut as that of the last output.

    Raises:
      TypeError: when the cell needs the whole sequence; otherwise as `unroll`.
      ValueError: when `k1` is below 1 or `k2` below `k1`; otherwise as `unroll`.

    Reference:
      Williams & Peng (1990), *An efficient gradient-based algorithm for on-line training of
      recurrent network trajectories*; Sutskever (2013), *Training recurrent neural networks*.

    >>> from lstm_jax import LSTM
    >>> cell = LSTM(input_size=3, hidden_size=5)
    >>> params, xs = cell.init(jax.random.key(0)), jnp.ones((7, 2, 3))
    >>> reach = jax.grad(lambda xs: tbptt(cell, params, xs, k1=1, k2=3)[1][-1].sum())(xs)
    >>> (reach != 0).any(axis=(1, 2)).tolist()  # the last output reaches three steps
    [False, False, False, False, True, True, True]
    """
    check_size("tbptt", "k1", k1)
    k2 = k1 if k2 is None else k2
    check_size("tbptt", "k2", k2)
    if k2 < k1:
        raise ValueError(f"tbptt: k2 must be at least k1 = {k1}; got {k2}")
    call = prepare(
        "tbptt", cell, params, xs, state,
        lengths=lengths, mask=mask, reset=reset, key=key, start=start, return_states=True,
        options=Options.from_args("tbptt", options),
    )  # fmt: skip
    if needs_sequence(call.cell):
        raise TypeError(
            f"tbptt: cell must have single steps; got {call.cell}, which needs the whole sequence"
        )
    xs = jax.tree.map(jnp.asarray, call.xs)
    T = jax.tree.leaves(xs)[0].shape[0]
    if T == 0:
        final, outputs, _ = call.compute()
        return final, outputs

    # Every state as a constant: the initial states of windows that start later than the sequence.
    _, all_outputs, states = lax.stop_gradient(call.compute())
    state = jax.tree.unflatten(jax.tree.structure(states), jax.tree.leaves(call.state))
    fill = call.options.padding == "hold" and call.valid is not None
    first_output = call.initial_output(all_outputs) if fill else None
    window_options = dataclasses.replace(call.options, padding="zero") if fill else call.options
    k1 = min(k1, T)
    ends = k1 * np.arange(1, -(-T // k1) + 1)
    k2 = min(k2, int(ends[-1]))
    steps = ends[:, None] - k2 + np.arange(k2)  # [windows, k2]; some are outside of the sequence
    inside = (steps >= 0) & (steps < T)
    at = np.clip(steps, 0, T - 1)

    def in_window(at: jax.Array, inside: jax.Array, steps: jax.Array) -> tuple[S, PyTree]:
        first = steps[0]
        constant = jax.tree.map(lambda leaf: leaf[jnp.maximum(first, 0)], states)
        begin = jax.tree.map(lambda a, b: jnp.where(first <= 0, a, b), state, constant)
        valid, reset = (None if a is None else a[at] for a in (call.valid, call.reset))
        if not all_inside:
            rows = next((a.shape[1:] for a in (valid, reset) if a is not None), ())
            in_sequence = jnp.broadcast_to(inside.reshape(k2, *[1] * len(rows)), (k2, *rows))
            valid = in_sequence if valid is None else in_sequence & valid
        windowed = dataclasses.replace(
            call,
            xs=jax.tree.map(lambda leaf: leaf[at], xs),
            state=begin,
            times=None if call.times is None else call.times[0] + steps.astype(jnp.int32),
            valid=valid,
            reset=reset,
            options=window_options,
            return_states=False,
        )
        final, outputs, _ = windowed.compute()
        if fill and valid is not None:
            before = jax.tree.map(lambda leaf: leaf[jnp.maximum(first, 1) - 1], all_outputs)
            before = jax.tree.map(lambda a, b: jnp.where(first <= 0, a, b), first_output, before)
            outputs = forward_fill(valid, outputs, before, reverse=False)
        return final, jax.tree.map(lambda leaf: leaf[k2 - k1 :], outputs)

    all_inside = bool(inside.all())
    finals, outputs = jax.vmap(in_window)(*map(jnp.asarray, (at, inside, steps)))
    return (
        jax.tree.map(lambda leaf: leaf[-1], finals),
        jax.tree.map(lambda leaf: leaf.reshape(ends[-1], *leaf.shape[2:])[:T], outputs),
    )
