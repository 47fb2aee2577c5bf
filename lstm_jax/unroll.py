"""The one door through which a cell is run over a sequence."""

from typing import Any, Literal, TypedDict, Unpack, overload

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from lstm_jax.backends import Implementation, Padding, Remat
from lstm_jax.prepare import prepare
from lstm_jax.transforms.step_rng import StepRng, check_key
from lstm_jax.transforms.transform import apply, batch_shape, check_cell, sample_params
from lstm_jax.transforms.transform import initial_state as start_of
from lstm_jax.types import Cell, P, PRNGKey, PyTree, S, Step


class Options(TypedDict, total=False):
    """The options of `unroll`, for those who pass them on."""

    lengths: Int[ArrayLike, "..."] | None
    mask: Bool[ArrayLike, "T ..."] | None
    reset: Bool[ArrayLike, "T ..."] | None
    reverse: bool
    padding: Padding
    remat: Remat
    unroll: int
    implementation: Implementation | None
    key: PRNGKey | None
    start: int | Int[Array, ""]


@overload
def unroll(
    cell: Cell[P, S] | Step[P, S],
    params: P,
    xs: PyTree,
    state: S | None = None,
    *,
    return_states: Literal[False] = False,
    **options: Unpack[Options],
) -> tuple[S, Float[Array, "T ... H"]]: ...


@overload
def unroll(
    cell: Cell[P, S] | Step[P, S],
    params: P,
    xs: PyTree,
    state: S | None = None,
    *,
    return_states: Literal[True],
    **options: Unpack[Options],
) -> tuple[S, Float[Array, "T ... H"], S]: ...


def unroll(
    cell: Cell[P, S] | Step[P, S],
    params: P,
    xs: PyTree,
    state: S | None = None,
    *,
    lengths: Int[ArrayLike, "..."] | None = None,
    mask: Bool[ArrayLike, "T ..."] | None = None,
    reset: Bool[ArrayLike, "T ..."] | None = None,
    reverse: bool = False,
    padding: Padding = "zero",
    remat: Remat = None,
    unroll: int = 1,
    implementation: Implementation | None = None,
    key: PRNGKey | None = None,
    start: int | Int[Array, ""] = 0,
    return_states: bool = False,
) -> tuple[Any, ...]:
    """Run a cell over a sequence: ``s_t = step(params, s_{t-1}, x_t)`` for ``t = 1 .. T``.

    **Ragged sequences.** A masked step holds the state. What `xs` has there never matters, not even
    NaN: outputs, final state and gradients are those of the rest, and the gradient of it is zero.
    A row of length 0 ends with the state that it started with.

    **Resets.** Where `reset` is true, a row goes back to the cell's own initial state *before* that
    step, in the order in which steps are run; `reset_after` makes resets from ``done`` flags. (A
    bare step function has no state of its own: it goes back to `state`.) Resets of masked steps do
    nothing.

    **Chunks.** A sequence in two chunks, the second with the final state of the first and with
    `start` at its first step, is the sequence as a whole, random numbers included.

    Outside of `jit`, equal cells share one compilation (so a function in a field of a cell must go
    on doing what it did), while a bare step function is compiled anew at every call, as what it
    closes over may have changed: `jit` the call.

    Args:
      cell: a cell, or a bare step function ``(params, state, x) -> state``.
      params: the cell's parameters.
      xs: inputs ``[T, ..., I]``; for cells that take one, a pytree with leaves ``[T, ...]``.
      state: state before the first step, with the batch axes of `xs`; a cell's own initial state
        when not given. A bare step function needs one. A plain ``(h, c)`` works.
      lengths: number of steps of every row ``[...]``, of the batch shape of `xs`, within 0 and T.
        Under `jit` they cannot be checked: below 0 counts as 0, above T as T.
      mask: true where a step is there ``[T, ...]``, in place of `lengths`: any pattern will do.
      reset: true where a row starts anew ``[T, ...]``.
      reverse: run from the last step to the first. Outputs stay in the order of the inputs, and
        the final state is the one after step 1. A short row starts at its own end.
      padding: what outputs show at masked steps: ``"zero"``; ``"hold"``, the last output (before
        the first, that of the initial state); or ``"raw"``, what the cell makes of a zero input.
      remat: what a gradient keeps of a run: everything (None), or the state of every step
        (``"step"``) or of every k-th step (``k``), computing the rest again. With ``k`` about
        sqrt(T), memory grows as sqrt(T). Never changes values. Where T is a symbol, as for
        `jax.export`, ``k`` is ``"step"``.
      unroll: steps per iteration of the compiled loop; changes speed, never values.
      implementation: how it is run; the numbers are the same. ``"scan"``, one step after the other,
        can do everything; ``"cpu"`` and ``"cudnn"`` run whole layers of the plain `LSTM` in native code;
        ``"parallel"`` all steps at once, for cells that are linear in their state. None takes the
        best that applies. What a kernel cannot do is done by the scan; `explain` says which is
        taken, and why not the others.
      key: typed random key, for cells that draw random numbers; without one they draw none.
      start: index of the first step, which the random numbers of a step depend on.
      return_states: whether to give all states as well.

    Returns:
      ``(final, outputs)``: the state after the last step run, and what the cell shows of every step
      (``h``) stacked, ``[T, ..., H]``. With `return_states`, ``(final, outputs, states)``: leaves
      ``[T + 1, ...]``, the initial state at the front, then one for each input in their order.

    Raises:
      TypeError: when `cell` is neither a cell nor a function, `state` is missing for a bare step
        function, the step changes the structure or a dtype of the state, or lengths, mask, reset
        or key have the wrong dtype.
      ValueError: when `xs` has no time axis, its leaves differ in length, the step changes the
        shape of the state, the shapes of lengths, mask or reset do not fit, a length is known to
        be out of range, or an option has no such value.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*.

    >>> import jax.numpy as jnp
    >>> from lstm_jax import LSTM
    >>> cell = LSTM(input_size=3, hidden_size=5)
    >>> params = cell.init(jax.random.key(0))
    >>> final, outputs = unroll(cell, params, jnp.ones((7, 2, 3)), lengths=jnp.array([7, 4]))
    >>> outputs.shape, bool(jnp.array_equal(outputs[3, 1], final.h[1])), float(outputs[4, 1].sum())
    ((7, 2, 5), True, 0.0)
    """
    run, cell_, params, state = prepare(
        "unroll",
        cell,
        params,
        xs,
        state,
        lengths=lengths,
        mask=mask,
        reset=reset,
        key=key,
        start_time=start,
        reverse=reverse,
        padding=padding,
        remat=remat,
        unroll=unroll,
        implementation=implementation,
        return_states=return_states,
    )
    final, outputs, states = run(cell_, params, xs, state, key)
    return (final, outputs, states) if return_states else (final, outputs)


def advance(
    cell: Cell[P, S],
    params: P,
    state: S | None,
    x: PyTree,
    *,
    key: PRNGKey | None = None,
    t: int | Int[Array, ""] = 0,
) -> tuple[S, Float[Array, "... H"]]:
    """One step of any cell, and what it shows: ``unroll`` of one step, for streams.

    Args:
      cell: any cell that goes step by step.
      params: the cell's parameters.
      state: ``s_{t-1}``, or None before the first step: the cell's own, learned or not.
      x: input ``x_t`` ``[..., I]``.
      key: typed random key, for cells that draw random numbers.
      t: index of the step.

    Returns:
      ``(s_t, y_t)``.

    Raises:
      TypeError: when `cell` is no cell or has no single step, or `key` is no typed key; otherwise,
        and ValueError, as the cell's step.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> cell = lj.stack(lj.LSTM(3, 5), lj.LSTM(5, 4))
    >>> params = cell.init(jax.random.key(0))
    >>> state, y = advance(cell, params, None, jnp.ones((2, 3)))
    >>> y.shape
    (2, 4)
    """
    check_cell("advance", cell)
    check_key("advance", key)
    params = sample_params(cell, params, key)
    state = start_of(cell, params, batch_shape(cell, x)) if state is None else state
    rng = None if key is None else StepRng(key, jax.numpy.asarray(t, jax.numpy.int32))
    return apply(cell, params, state, x, rng)
