"""From a cell, a sequence, and what is asked of them, to a kernel and its operands."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lstm_jax import kernels
from lstm_jax.kernels import PADDINGS, Apply, Body, Carry, Emit, Inputs, Operands, Padding, Remat
from lstm_jax.kernels.carry import as_carry, at_rest, check_rows, first_input
from lstm_jax.ragged import check_reset, held, opposite_resets, valid_steps, zero_elsewhere
from lstm_jax.split import split_like
from lstm_jax.transforms.noise import Noise, check_key
from lstm_jax.transforms.transform import (
    AnyCell,
    Transform,
    apply,
    batch_shape,
    bind,
    check_cell,
    needs_sequence,
    start,
    takes_sequence,
)
from lstm_jax.types import Cell, PRNGKey, PyTree

Implementation = Literal["scan", "parallel"]
"""A way to run a cell over a sequence."""

IMPLEMENTATIONS: tuple[Implementation, ...] = ("scan", "parallel")


@dataclass(frozen=True)
class Run:
    """One run over a sequence: which steps, in which direction, how. Called for each cell in it.

    Attributes:
      function: the public function to name in errors.
      times: index of every step, ``[T]``.
      valid: which steps are there ``[T, ...]``, or None for all.
      reset: where rows start anew ``[T, ...]``, or None for nowhere.
      reverse: run from the last step to the first.
      padding: what to show at masked steps.
      remat: what a gradient keeps.
      unroll: steps per iteration of the compiled loop.
      implementation: the kernel asked for, or None for the best that applies.
      with_states: whether to keep every state.
      safe_inputs: whether the inputs of masked steps are for the cell to see, as what a layer below
        shows there.
    """

    function: str
    times: jax.Array
    valid: jax.Array | None = None
    reset: jax.Array | None = None
    reverse: bool = False
    padding: Padding = "zero"
    remat: Remat = None
    unroll: int = 1
    implementation: Implementation | None = None
    with_states: bool = False
    safe_inputs: bool = False

    def __call__(
        self,
        cell: Any,
        params: PyTree,
        xs: PyTree,
        state: PyTree,
        key: PRNGKey | None,
        *,
        opposite: bool = False,
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Run a cell, by the kernel that suits it.

        Args:
          cell: any cell.
          params: its parameters, bound to the sequence.
          xs: inputs, leaves ``[T, ...]``.
          state: state before the first step.
          key: what random numbers are drawn from, or None.
          opposite: run in the opposite direction of time.

        Returns:
          ``(final, outputs, states)``, the last with leaves ``[T + 1, ...]``, or None.
        """
        run = self._opposite() if opposite else self
        if needs_sequence(cell) or (run._prefers_parallel() and takes_sequence(cell)):
            if isinstance(cell, Transform):
                return run._through(cell, params, xs, state, key)
            return run._in_parallel(cell, params, xs, state)
        emit = _shown_and_state if run.with_states else _shown
        initial, final, (outputs, states) = run.scan(cell, params, xs, state, key, emit)
        return final, outputs, _with_initial(initial, states) if run.with_states else None

    def scan(
        self, cell: Any, params: PyTree, xs: PyTree, state: PyTree, key: PRNGKey | None, emit: Emit
    ) -> tuple[PyTree, PyTree, tuple[PyTree, PyTree]]:
        """Run a cell by the plain scan: ``(initial, final, what emit keeps)``."""
        step = _StepOf(cell)
        operands, inputs, carry = self._operands(cell, step, params, xs, state, key)
        if self.valid is not None and self.padding == "hold":
            x_1 = first_input(self.function, xs)
            noise = None if key is None else Noise(key, jnp.asarray(0, jnp.int32))
            _, like = jax.eval_shape(step, params, carry.state, x_1, noise)
            carry = Carry(carry.state, at_rest(cell, carry.state, x_1, like))
        is_value = _is_value(cell)
        final, kept = (kernels.compiled_scan if is_value else kernels.scan)(
            # JAX caches traces by body: one that is no value must not equal that of another call.
            Body(step if is_value else step.anew(), emit, self.padding, self.safe_inputs),
            operands,
            inputs,
            carry,
            reverse=self.reverse,
            unroll=self.unroll,
            remat=self.remat,
        )
        return carry.state, final.state, kept

    def safe(self, xs: PyTree) -> PyTree:
        """The inputs with zeros at masked steps."""
        if self.valid is None or self.safe_inputs:
            return xs
        return zero_elsewhere(self.valid, xs)

    def _through(
        self, cell: Transform, params: PyTree, xs: PyTree, state: PyTree, key: PRNGKey | None
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Have a transform run its cells one after the other, with the padding of the whole."""
        if self.valid is None or self.padding == "zero":
            return cell.run(self, params, xs, state, key)
        if self.padding == "raw":
            as_they_are = dataclasses.replace(self, safe_inputs=True)
            return cell.run(as_they_are, params, self.safe(xs), state, key)
        zero = dataclasses.replace(self, padding="zero")
        final, ys, states = cell.run(zero, params, xs, state, key)
        first = at_rest(cell, state, first_input(self.function, xs), first_input("", ys))
        return final, held(self.valid, ys, first, reverse=self.reverse), states

    def _in_parallel(
        self, cell: Any, params: PyTree, xs: PyTree, state: PyTree
    ) -> tuple[PyTree, PyTree, PyTree]:
        operands, inputs, carry = self._operands(cell, _StepOf(cell), params, xs, state, None)
        final, outputs, states = kernels.parallel(
            cell,
            operands,
            inputs._replace(x=self.safe(xs)),
            carry,
            padding=self.padding,
            reverse=self.reverse,
        )
        return final, outputs, _with_initial(carry.state, states) if self.with_states else None

    def _operands(
        self, cell: Any, step: Apply, params: PyTree, xs: PyTree, state: PyTree, key: Any
    ) -> tuple[Operands, Inputs, Carry]:
        """Operands, inputs and carry of a loop over one cell."""
        x_1 = first_input(self.function, xs)
        noise = None if key is None else Noise(key, self.times[:1].sum())
        state = as_carry(self.function, step, params, state, x_1, noise)
        initial = None
        if self.valid is not None or self.reset is not None:
            rows = (self.reset if self.valid is None else self.valid).shape[1:]  # pyright: ignore[reportOptionalMemberAccess]
            check_rows(self.function, rows, xs=x_1, state=state)
            if self.reset is not None:
                own = jax.tree.leaves(start(cell, params, rows))
                initial = jax.tree.unflatten(
                    jax.tree.structure(state),
                    [
                        split_like(jnp.asarray(a, b.dtype), jax.typeof(b))
                        for a, b in zip(own, jax.tree.leaves(state), strict=True)
                    ],
                )
        times = None if key is None else self.times
        return (
            Operands(params, initial, key),
            Inputs(xs, self.valid, self.reset, times),
            Carry(state),
        )

    def _prefers_parallel(self) -> bool:
        if self.implementation is None:
            # About log T passes over memory: on a CPU, measured slower than the loop.
            return self.remat is None and jax.default_backend() != "cpu"
        return self.remat is None and self.implementation == "parallel"

    def _opposite(self) -> "Run":
        reset = self.reset
        if reset is not None:
            reset = opposite_resets(reset, self.valid, reverse=self.reverse)
        return dataclasses.replace(self, reset=reset, reverse=not self.reverse)


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
    key: PRNGKey | None = None,
    start_time: Any = 0,
    **settings: Any,
) -> tuple[Run, Any, PyTree, PyTree]:
    """Check a cell against its inputs, and give what it takes to run it over them.

    Args:
      function: the public function to name in errors.
      cell: a cell or a bare step function.
      params: the cell's parameters.
      xs: inputs, leaves ``[T, ...]``.
      state: state before the first step, or None for the cell's own.
      lengths: steps of every row, or None.
      mask: which steps are there, or None.
      reset: where rows start anew, or None.
      key: what random numbers are drawn from, or None.
      start_time: index of the first step.
      **settings: further fields of `Run`.

    Returns:
      ``(run, cell, params, state)`` to be called as ``run(cell, params, xs, state, key)``: the
      parameters are bound to the sequence.

    Raises:
      TypeError, ValueError: as `unroll`.

    >>> from lstm_jax import lstm_init, lstm_step
    >>> params = lstm_init(jax.random.key(0), 3, 5)
    >>> xs, state = jnp.ones((7, 3)), (jnp.zeros(5), jnp.zeros(5))
    >>> run, cell, params, state = prepare("unroll", lstm_step, params, xs, state)
    >>> run(cell, params, xs, state, None)[1].shape
    (7, 5)
    """
    x_1 = first_input(function, xs)
    T = jax.tree.leaves(xs)[0].shape[0]
    cell = _as_cell(function, cell)
    rows = None if isinstance(cell, BareStep) else batch_shape(cell, x_1)
    if rows is None and state is None:
        raise TypeError(f"{function}: a bare step function needs `state`; got None")
    check_key(function, key)
    first = jnp.asarray(start_time)
    if first.ndim or not jnp.issubdtype(first.dtype, jnp.integer):
        raise TypeError(f"{function}: start must be an integer; got {start_time!r}")
    valid = valid_steps(function, T, rows, lengths, mask)
    reset = check_reset(function, T, rows, reset)
    if valid is not None and reset is not None and valid.shape != reset.shape:
        raise ValueError(
            f"{function}: reset must have the shape of the mask, {valid.shape}; got {reset.shape}"
        )
    if T:
        like = jax.typeof(jax.tree.leaves(xs)[0])
        valid, reset = (
            None if given is None else split_like(given, like) for given in (valid, reset)
        )
    times = first.astype(jnp.int32) + jnp.arange(T, dtype=jnp.int32)
    run = Run(function, times, valid, reset, **settings)
    _check_options(run)
    bound = bind(cell, params, key)
    if isinstance(cell, BareStep):
        cell = dataclasses.replace(cell, own=state)
    elif state is None and rows is not None:
        like, axes = jax.tree.leaves(x_1)[0], len(rows)
        state = jax.tree.map(lambda leaf: split_like(leaf, like, axes), start(cell, bound, rows))
    return run, cell, bound, state


def _as_cell(function: str, cell: Any) -> AnyCell:
    """The cell as it is, or a bare step function as one."""
    if isinstance(cell, type):
        check_cell(function, cell)
    if isinstance(cell, Cell):
        return cell
    if callable(cell):
        return BareStep(cell)
    raise TypeError(
        f"{function}: cell must be a cell or a step function (params, state, x) -> state;"
        f" got {type(cell).__name__}"
    )


@dataclass(frozen=True, repr=False, eq=False)
class BareStep(Transform):
    """A bare step function as a cell; never equal to another, as what it closes over may change.

    It has no initial state but the one that it is given.
    """

    function: Callable[..., Any]
    own: Any = None

    def children(self) -> tuple[()]:
        """No cells."""
        return ()

    def initial_state(self, batch_shape: Sequence[int] = (), params: PyTree = None) -> PyTree:
        """The state that was given, of all rows."""
        return self.own

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, noise: Noise | None = None
    ) -> tuple[PyTree, PyTree]:
        """Advance one time step, and show the first field of the state."""
        new = self.function(params, state, x)
        return new, new[0]

    def rest(self, state: PyTree, x: PyTree) -> PyTree:
        """The first field of the state."""
        return state[0]


@dataclass(frozen=True)
class _StepOf:
    """`apply` of a cell as a value: a closure would equal only itself."""

    cell: Any

    def __call__(
        self, params: PyTree, state: PyTree, x: PyTree, noise: Noise | None
    ) -> tuple[PyTree, PyTree]:
        return apply(self.cell, params, state, x, noise)

    def anew(self) -> Apply:
        """The same, equal to nothing else."""
        return lambda params, state, x, noise: apply(self.cell, params, state, x, noise)


def _is_value(cell: Any) -> bool:
    """Whether a cell is a frozen dataclass and hashable, so that an equal one does the same."""
    # Not by `getattr`: a subclass that is no dataclass itself can be given further attributes.
    if not getattr(vars(type(cell)).get("__dataclass_params__"), "frozen", False):
        return False
    if isinstance(cell, BareStep):
        return False
    if isinstance(cell, Transform) and not all(map(_is_value, cell.children())):
        return False
    try:
        hash(cell)
    except TypeError:
        return False
    return True


def _check_options(run: Run) -> None:
    if not isinstance(run.unroll, int):
        raise TypeError(f"{run.function}: unroll must be an integer; got {run.unroll!r}")
    if run.unroll < 1:
        raise ValueError(f"{run.function}: unroll must be at least 1; got {run.unroll}")
    if run.padding not in PADDINGS:
        raise ValueError(f"{run.function}: padding must be one of {PADDINGS}; got {run.padding!r}")
    if run.implementation is not None and run.implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"{run.function}: implementation must be None or one of {IMPLEMENTATIONS}; got"
            f" {run.implementation!r}"
        )
    remat = run.remat
    steps = isinstance(remat, int) and not isinstance(remat, bool) and remat >= 1
    if not (remat is None or remat == "step" or steps):
        raise ValueError(
            f'{run.function}: remat must be None, "step" or a number of steps of at least 1; got'
            f" {remat!r}"
        )


def _with_initial(initial: PyTree, states: PyTree) -> PyTree:
    """All states with the initial one at the front."""
    return jax.tree.map(lambda s, ss: jnp.concatenate([s[None], ss]), initial, states)


def _shown(params: Any, state_tm1: Any, x_t: Any, state_t: Any, y_t: Any, noise: Any) -> Any:
    del params, state_tm1, x_t, state_t, noise
    return y_t, None


def _shown_and_state(
    params: Any, state_tm1: Any, x_t: Any, state_t: Any, y_t: Any, noise: Any
) -> Any:
    del params, state_tm1, x_t, noise
    return y_t, state_t
