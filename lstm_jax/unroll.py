"""The public function that unrolls a cell over a sequence, and how a call of it is computed."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Unpack, overload

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from lstm_jax.arrays import check_arrays
from lstm_jax.backends import (
    BACKENDS,
    Request,
    select,
    unrolls_children,
    unrolls_in_chunks,
    warn_of_fallback,
)
from lstm_jax.backends.chunks import scan_chunks
from lstm_jax.backends.request import Result
from lstm_jax.backends.scan import checked_state, in_dtypes_of, in_float32
from lstm_jax.inputs import check_rows, checked_inputs, first_input
from lstm_jax.masks import Flags, check_mask, valid_steps
from lstm_jax.options import DEFAULTS, Implementation, OptionArgs, Options, Padding, Remat
from lstm_jax.resets import resets_in_opposite_direction
from lstm_jax.sharding import match_sharding, match_types
from lstm_jax.transforms.own_structure import own_params, own_state
from lstm_jax.transforms.step_function import StepFunction, as_cell
from lstm_jax.transforms.step_rng import check_key
from lstm_jax.transforms.transform import batch_shape, initial_state, sample_params
from lstm_jax.types import Cell, P, PRNGKey, PyTree, S, Step


class UnrollArgs(OptionArgs, total=False):
    """The keyword arguments of `unroll`, for functions that pass them on."""

    lengths: Int[ArrayLike, "..."] | None
    mask: Flags | None
    reset: Flags | None
    reverse: bool
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
    **kwargs: Unpack[UnrollArgs],
) -> tuple[S, Float[Array, "T ... H"]]: ...


@overload
def unroll(
    cell: Cell[P, S] | Step[P, S],
    params: P,
    xs: PyTree,
    state: S | None = None,
    *,
    return_states: Literal[True],
    **kwargs: Unpack[UnrollArgs],
) -> tuple[S, Float[Array, "T ... H"], S]: ...


def unroll(
    cell: Cell[P, S] | Step[P, S],
    params: P,
    xs: PyTree,
    state: S | None = None,
    *,
    lengths: Int[ArrayLike, "..."] | None = None,
    mask: Flags | None = None,
    reset: Flags | None = None,
    reverse: bool = False,
    padding: Padding = "zero",
    remat: Remat = None,
    unroll: int = 1,
    implementation: Implementation | None = None,
    key: PRNGKey | None = None,
    start: int | Int[Array, ""] = 0,
    return_states: bool = False,
) -> tuple[Any, ...]:
    """Unroll a cell over a sequence: ``s_t = step(params, s_{t-1}, x_t)`` for ``t = 1 .. T``.

    **Ragged sequences.** A masked step keeps the state. The inputs of masked steps have no effect,
    not even NaN: outputs, final state and gradients are those of the valid steps, and the gradient
    with respect to masked inputs is zero. A row of length 0 ends with its initial state.

    **Resets.** Where `reset` is true, a row returns to the cell's own initial state *before* that
    step, in the order in which steps are run; `resets_from_dones` makes resets from ``done`` flags.
    (A bare step function has no initial state of its own: it returns to `state`.) Resets of masked
    steps do nothing.

    **Chunks.** A sequence in two chunks, the second with the final state of the first and with
    `start` at its first step, gives the same numbers as the whole, random numbers included.

    Outside of `jit`, equal cells share one compilation (so a module's function in a field of a cell
    must not change what it computes). A bare step function, or a cell with a lambda in a field, is
    traced at every call, as what it closes over may have changed, and compiled where it has. One
    that calls a `jax.custom_vjp` or `jax.custom_jvp` function of your own is compiled at every
    call, as its rules may have changed. To save that, `jit` the call.

    Args:
      cell: a cell, or a bare step function ``(params, state, x) -> state``. The function
        `lstm_step` itself is unrolled as the cell `LSTM`; other functions run by the scan.
      params: the cell's parameters.
      xs: inputs ``[T, ..., I]``; for cells that read one, a pytree with leaves ``[T, ...]``.
      state: state before the first step, with the batch axes of `xs`; the cell's own initial state
        when not given. A bare step function needs one. A plain ``(h, c)`` works, and the array
        ``h`` where a state has one field. Integers are cast to the dtypes of the cell's own state.
      lengths: number of steps of every row ``[...]``, of the batch shape of `xs`, within 0 and T.
        Under `jit` they cannot be checked: below 0 counts as 0, above T as T. (JAX itself makes
        int32 of an int64 argument of a jitted function, modulo 2^32, unless x64 is enabled.)
      mask: true at valid steps ``[T, ...]``, in place of `lengths`; any pattern. Booleans, or
        numbers that are 0 or 1; under `jit`, where they cannot be checked, all but 0 are true.
      reset: true where a row is reset ``[T, ...]``; booleans or numbers, likewise.
      reverse: unroll from the last step to the first. Outputs stay in the order of the inputs, and
        the final state is the one after step 1. A short row starts at its own end.
      padding: the outputs at masked steps: ``"zero"``, ``"hold"`` or ``"raw"``; see `Options`.
      remat: what is kept for a gradient: everything (None), or the state of every step
        (``"step"``) or of every k-th step (``k``); see `Options`.
      unroll: steps per iteration of the compiled loop.
      implementation: the backend: ``"scan"``, ``"cpu"``, ``"cudnn"``, ``"parallel"``, or None for
        the best one; see `Options` and `explain`. Where a named backend does not support the
        call, the scan runs it, and a warning gives the reason.
      key: typed random key, for cells that draw random numbers; without one they draw none.
      start: index of the first step, on which the random numbers of a step depend.
      return_states: whether to return all states as well.

    Returns:
      ``(final, outputs)``: the state after the last step, and the outputs of every step (``h``)
      stacked, ``[T, ..., H]``. With `return_states`, ``(final, outputs, states)``: leaves
      ``[T + 1, ...]``, the initial state first, then one for each input in their order.

    Raises:
      TypeError: when `cell` is neither a cell nor a function, `xs` is a list or another tree for
        a cell that reads one array, an array is one of another library, `state` is missing for a
        bare step function, the step changes the structure or a dtype of the state, or lengths,
        mask, reset or key have the wrong dtype.
      ValueError: when `xs` has no time axis, its leaves differ in length, the step changes the
        shape of the state, the shapes of lengths, mask or reset do not fit, a length is known to
        be out of range, a number in mask or reset is known to be neither 0 nor 1, or an option does
        not have such a value.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*.

    >>> import jax.numpy as jnp
    >>> from lstm_jax import LSTM
    >>> cell = LSTM(input_size=3, hidden_size=5)
    >>> params = cell.init(jax.random.key(0))
    >>> final, outputs = unroll(cell, params, jnp.ones((7, 2, 3)), lengths=jnp.array([7, 4]))
    >>> outputs.shape, final.c.shape
    ((7, 2, 5), (2, 5))
    >>> bool((outputs[4:, 1] == 0).all()), bool((final.h[1] == outputs[3, 1]).all())
    (True, True)
    """
    options = Options(padding=padding, remat=remat, unroll=unroll, implementation=implementation)
    call = prepare(
        "unroll", cell, params, xs, state,
        lengths=lengths, mask=mask, reset=reset, reverse=reverse, options=options, key=key,
        start=start, return_states=return_states,
    )  # fmt: skip
    final, outputs, states = call.compute()
    return (final, outputs, states) if return_states else (final, outputs)


def prepare(
    function: str,
    cell: Any,
    params: PyTree,
    xs: PyTree,
    state: PyTree = None,
    *,
    lengths: Any = None,
    mask: Any = None,
    reset: Any = None,
    reverse: bool = False,
    options: Options = DEFAULTS,
    key: PRNGKey | None = None,
    start: Any = 0,
    return_states: bool = False,
    on_select: Callable[[Any], None] | None = None,
) -> "UnrollCall":
    """Check the arguments of `unroll`, and fill in what is not given.

    Args:
      function: the public function to name in errors.
      options: the options of `unroll`.
      on_select: called with the selected backend of every cell.
      cell, params, xs, state, lengths, mask, reset, reverse, key, start, return_states: as in
        `unroll`.

    Returns:
      A call: ``compute()`` gives its results.

    Raises:
      TypeError, ValueError: as `unroll`.

    >>> from lstm_jax import lstm_init, lstm_step
    >>> params = lstm_init(jax.random.key(0), 3, 5)
    >>> xs, state = jnp.ones((7, 3)), (jnp.zeros(5), jnp.zeros(5))
    >>> prepare("unroll", lstm_step, params, xs, state).compute()[1].shape
    (7, 5)
    """
    options = options.checked(function)
    xs = checked_inputs(function, cell, xs)
    params, state = check_arrays(function, others=("params",), params=params, state=state)
    x_1 = first_input(function, xs)
    T = jax.tree.leaves(xs)[0].shape[0]
    if not isinstance(cell, Cell) or isinstance(cell, type):
        cell = as_cell(function, cell, params, has_own_state=reset is not None or state is None)
    params = own_params(function, cell, params)
    rows = None if isinstance(cell, StepFunction) else batch_shape(cell, x_1)
    if rows is None and state is None:
        raise TypeError(f"{function}: a bare step function needs `state`; got None")
    first = jnp.asarray(start)
    if first.ndim or not jnp.issubdtype(first.dtype, jnp.integer):
        raise TypeError(f"{function}: start must be an integer; got {start!r}")
    times = None
    if key is not None:
        check_key(function, key)
        times = first.astype(jnp.int32) + jnp.arange(T, dtype=jnp.int32)
        params = sample_params(cell, params, key)
    valid = valid_steps(function, T, rows, lengths, mask)
    if reset is not None:
        reset = check_mask(function, "reset", reset, T, rows)
        if valid is not None and valid.shape != reset.shape:
            raise ValueError(
                f"{function}: reset must have the shape of the mask, {valid.shape}; got"
                f" {reset.shape}"
            )
    given = state is not None
    own = own_state(cell, params, state) if given else initial_state(cell, params, rows or ())
    state = jax.tree.map(jnp.asarray, own)
    if rows is None:
        cell = dataclasses.replace(cell, own_state=state)  # pyright: ignore[reportArgumentType]
    check_rows(function, valid if reset is None else reset, xs=x_1, state=state)
    leaves = jax.tree.leaves((params, xs, state, valid, reset))
    on_mesh = False in [jax.typeof(a).sharding.mesh.empty for a in leaves if hasattr(a, "dtype")]
    if on_mesh and T:
        state_axes = None if given else len(rows or ())
        state, valid, reset = _sharded_as_inputs(xs, state, state_axes, valid, reset)
    return UnrollCall(
        function=function, cell=cell, params=params, xs=xs, state=state, key=key, times=times,
        valid=valid, reset=reset, reverse=reverse, options=options, return_states=return_states,
        on_mesh=on_mesh, on_select=on_select,
    )  # fmt: skip


def _sharded_as_inputs(
    xs: PyTree, state: PyTree, state_axes: int | None, *masks: jax.Array | None
) -> tuple[PyTree, ...]:
    """An initial state (its first so many axes) and masks, sharded as the inputs are."""
    x = jax.tree.leaves(xs)[0]
    if state_axes is not None:
        x_1 = jax.eval_shape(lambda x: x[0], x)
        state = jax.tree.map(lambda leaf: match_sharding(leaf, x_1, state_axes), state)
    like = jax.typeof(x)
    return state, *(None if mask is None else match_sharding(mask, like) for mask in masks)


@dataclass(frozen=True, eq=False, kw_only=True)
class UnrollCall(Request):
    """A call of `unroll` with its arguments checked; also the calls for the cells inside of it."""

    def compute(self) -> Result:
        """``(final, outputs, states)``; the last with leaves ``[T + 1, ...]``, or None."""
        if unrolls_children(self):
            return self._compute_children()
        if unrolls_in_chunks(self):
            return self._compute_chunks()
        selection = select(self)
        if self.on_select is None:
            warn_of_fallback(self.function, selection, self.options.implementation)
        else:
            self.on_select(selection)
        final, outputs, states = BACKENDS[selection.implementation].compute(self)
        if states is not None and self.return_states:
            states = self._with_initial_state(states)
        return final, outputs, states

    def unroll_child(
        self,
        cell: Any,
        params: PyTree,
        xs: PyTree,
        state: PyTree,
        key: PRNGKey | None,
        *,
        opposite: bool = False,
    ) -> Result:
        """Unroll one of the cells of a transform over the whole sequence.

        Args:
          cell: the cell.
          params: its parameters, sampled for this sequence.
          xs: its inputs, leaves ``[T, ...]``.
          state: its state before the first step.
          key: its key, or None.
          opposite: unroll in the opposite direction of time.

        Returns:
          ``(final, outputs, states)``.
        """
        reverse, reset = self.reverse, self.reset
        if opposite:
            if reset is not None:
                reset = resets_in_opposite_direction(reset, self.valid, reverse=reverse)
            reverse = not reverse
        call = dataclasses.replace(
            self,
            cell=cell,
            params=params,
            xs=xs,
            state=state,
            key=key,
            reverse=reverse,
            reset=reset,
        )
        return call.compute()

    def _compute_children(self) -> Result:
        """Unroll the cells of a transform one after the other, with the padding of the whole."""
        padding = self.options.padding
        call, xs = self, self.xs
        if self.valid is not None and padding == "hold":
            call = self._with_options(padding="zero")
        elif self.valid is not None and padding == "raw":
            # A layer reads masked outputs of the one below: zero only the first inputs.
            xs = self.zero_masked(xs)
            call = dataclasses.replace(self, xs=xs, masked_inputs_are_safe=True)
        final, ys, states = self.cell.apply_sequence(call, self.params, xs, self.state, self.key)
        return final, self.hold(ys) if padding == "hold" else ys, states

    def _compute_chunks(self) -> Result:
        """Compute chunk after chunk by the best backend; a gradient keeps what goes into each."""
        state = checked_state(self) if self.on_mesh else self.state
        leaves, structure = jax.tree.flatten(state)
        returned, wide = [structure], in_float32(self.params)

        def compute_chunk(leaves: list[Any], chunk: Any) -> tuple[list[Any], PyTree]:
            xs, valid, reset, times = chunk
            call = self._with_options(remat=None)
            final, ys, _ = dataclasses.replace(
                call, params=in_dtypes_of(self.params, wide), xs=xs,
                state=jax.tree.unflatten(structure, leaves), valid=valid, reset=reset, times=times,
            ).compute()  # fmt: skip
            leaves, returned[0] = jax.tree.flatten(final)
            return leaves, ys

        size: Any = self.options.remat
        chunks = (self.xs, self.valid, self.reset, self.times)
        leaves, ys = scan_chunks(compute_chunk, leaves, chunks, size, reverse=self.reverse)
        return jax.tree.unflatten(returned[0], leaves), ys, None

    def _with_options(self, **changes: Any) -> "UnrollCall":
        return dataclasses.replace(self, options=dataclasses.replace(self.options, **changes))

    def _with_initial_state(self, states: PyTree) -> PyTree:
        """All states, leaves ``[T, ...]``, with the one before the first step at the front."""
        state = jax.tree.unflatten(jax.tree.structure(states), jax.tree.leaves(self.state))
        if self.on_mesh:
            first = lambda states: jax.tree.map(lambda leaf: leaf[0], states)  # noqa: E731
            state = match_types(state, jax.eval_shape(first, states))
        return jax.tree.map(lambda s, ss: jnp.concatenate([s[None], ss]), state, states)
