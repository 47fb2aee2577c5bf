"""Backpropagation through time that stops after so many steps."""

import dataclasses
from typing import Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from lstm_jax.masks import forward_fill
from lstm_jax.options import OptionArgs, Options, takes_options
from lstm_jax.transforms.transform import needs_sequence
from lstm_jax.types import Cell, P, PRNGKey, PyTree, S, Step, check_size
from lstm_jax.unroll import prepare


@takes_options
def tbptt(
    cell: Cell[P, S] | Step[P, S],
    params: P,
    xs: PyTree,
    state: S | None = None,
    *,
    k1: int,
    k2: int | None = None,
    lengths: Int[ArrayLike, "..."] | None = None,
    mask: Bool[ArrayLike, "T ..."] | None = None,
    reset: Bool[ArrayLike, "T ..."] | None = None,
    key: PRNGKey | None = None,
    start: int | Int[Array, ""] = 0,
    **options: Unpack[OptionArgs],
) -> tuple[S, Float[Array, "T ... H"]]:
    """`unroll` with truncated gradients: every `k1` steps, go back `k2` steps and no further.

    Values are those of `unroll`. The outputs of each chunk of `k1` steps send their gradient back
    to `k2` steps before the end of the chunk, where the state counts as a constant. With equal
    `k1` and `k2`, that is a cut between chunks. With a larger `k2`, chunks look back into earlier
    ones, whose steps are run again for them, all chunks side by side. What the first chunks reach
    of `state` (or of a learned initial state) gets its gradient.

    To update parameters between chunks, unroll one chunk at a time and stop the gradient of the
    state in between: ``state = jax.lax.stop_gradient(final)``.

    Args:
      cell: a cell that goes step by step, or a bare step function.
      params: the cell's parameters.
      xs: inputs ``[T, ..., I]``.
      state: state before the first step; a cell's own initial state when not given.
      k1: steps from one update to the next.
      k2: steps that each goes back, at least `k1`; `k1` when not given.
      lengths: as in `unroll`.
      mask: as in `unroll`.
      reset: as in `unroll`.
      key: as in `unroll`.
      start: as in `unroll`.
      **options: as in `unroll`: padding, remat, unroll, implementation.

    Returns:
      ``(final, outputs)`` as `unroll`; `final` sends its gradient back as the last output does.

    Raises:
      TypeError: when the cell needs its whole sequence; otherwise as `unroll`.
      ValueError: when `k1` is below 1 or `k2` below `k1`; otherwise as `unroll`.

    Reference:
      Williams & Peng (1990), *An efficient gradient-based algorithm for on-line training of
      recurrent network trajectories*; Sutskever (2013), *Training recurrent neural networks*.

    >>> from lstm_jax import LSTM
    >>> cell = LSTM(input_size=3, hidden_size=5)
    >>> params, xs = cell.init(jax.random.key(0)), jnp.ones((7, 2, 3))
    >>> reach = jax.grad(lambda xs: tbptt(cell, params, xs, k1=1, k2=3)[1][-1].sum())(xs)
    >>> (reach != 0).any(axis=(1, 2)).tolist()  # the last output sees three steps
    [False, False, False, False, True, True, True]
    """
    check_size("tbptt", "k1", k1)
    k2 = k1 if k2 is None else k2
    check_size("tbptt", "k2", k2)
    if k2 < k1:
        raise ValueError(f"tbptt: k2 must be at least k1 = {k1}; got {k2}")
    call = prepare(
        "tbptt", cell, params, xs, state,
        lengths=lengths, mask=mask, reset=reset, options=Options(**options), key=key, start=start,
        return_states=True,
    )  # fmt: skip
    if needs_sequence(call.cell):
        raise TypeError(
            f"tbptt: cell must go step by step; got {call.cell}, which needs its sequence"
        )
    xs = jax.tree.map(jnp.asarray, call.xs)
    T = jax.tree.leaves(xs)[0].shape[0]
    if T == 0:
        final, outputs, _ = call.compute()
        return final, outputs

    # Every state as a constant: where the windows that start later than the sequence take off.
    _, all_outputs, states = lax.stop_gradient(call.compute())
    state = jax.tree.unflatten(jax.tree.structure(states), jax.tree.leaves(call.state))
    holds = call.options.padding == "hold" and call.valid is not None
    first_output = call.initial_output(all_outputs) if holds else None
    of_windows = dataclasses.replace(call.options, padding="zero") if holds else call.options
    k1 = min(k1, T)
    ends = k1 * np.arange(1, -(-T // k1) + 1)
    k2 = min(k2, int(ends[-1]))
    steps = ends[:, None] - k2 + np.arange(k2)  # [windows, k2]; some are outside of the sequence
    inside = (steps >= 0) & (steps < T)
    at = np.clip(steps, 0, T - 1)

    def in_window(at: jax.Array, inside: jax.Array, steps: jax.Array) -> tuple[S, PyTree]:
        first = steps[0]
        taken_off = jax.tree.map(lambda leaf: leaf[jnp.maximum(first, 0)], states)
        begin = jax.tree.map(lambda a, b: jnp.where(first <= 0, a, b), state, taken_off)
        valid, again = (None if a is None else a[at] for a in (call.valid, call.reset))
        if not all_inside:
            rows = next((a.shape[1:] for a in (valid, again) if a is not None), ())
            there = jnp.broadcast_to(inside.reshape(k2, *[1] * len(rows)), (k2, *rows))
            valid = there if valid is None else there & valid
        windowed = dataclasses.replace(
            call,
            xs=jax.tree.map(lambda leaf: leaf[at], xs),
            state=begin,
            times=None if call.times is None else call.times[0] + steps.astype(jnp.int32),
            valid=valid,
            reset=again,
            options=of_windows,
            return_states=False,
        )
        final, outputs, _ = windowed.compute()
        if holds and valid is not None:
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
