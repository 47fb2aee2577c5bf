"""From a cell, a sequence, and what is asked of them, to a kernel and its operands."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.kernels import (
    IMPLEMENTATIONS,
    KERNELS,
    PADDINGS,
    Apply,
    Carry,
    Choice,
    Emit,
    Implementation,
    Inputs,
    Operands,
    Padding,
    Problem,
    Remat,
    choose,
    gains_from_sequence,
    in_chunks,
    scanned,
)
from lstm_jax.kernels.carry import as_carry, at_rest, check_rows, first_input
from lstm_jax.ragged import check_reset, held, opposite_resets, valid_steps, zero_elsewhere
from lstm_jax.split import split_like
from lstm_jax.steps import BareStep, StepOf, as_cell, is_value
from lstm_jax.transforms.noise import Noise, check_key
from lstm_jax.transforms.transform import (
    Transform,
    batch_shape,
    bind,
    needs_sequence,
    start,
    takes_sequence,
)
from lstm_jax.types import PRNGKey, PyTree


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
      note: is told of every choice of a kernel.
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
    note: Callable[[Choice], None] | None = None
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
        if isinstance(cell, Transform) and run._goes_through(cell):
            return run._through(cell, params, xs, state, key)
        if run._goes_in_chunks(cell):
            return run._in_chunks(cell, params, xs, state, key)
        problem = run._problem(cell, params, xs, state, key)
        choice = choose(problem, run.implementation)
        if run.note is not None:
            run.note(choice)
        final, outputs, states = KERNELS[choice.kernel].solve(problem)
        states = _with_initial(problem.carry.state, states) if run.with_states else None
        return final, outputs, states

    def scan(
        self, cell: Any, params: PyTree, xs: PyTree, state: PyTree, key: PRNGKey | None, emit: Emit
    ) -> tuple[PyTree, PyTree, tuple[PyTree, PyTree]]:
        """Run a cell by the plain scan: ``(initial, final, what emit keeps)``."""
        problem = self._problem(cell, params, xs, state, key)
        final, kept = scanned(problem, emit)
        return problem.carry.state, final, kept

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

    def _in_chunks(
        self, cell: Any, params: PyTree, xs: PyTree, state: PyTree, key: PRNGKey | None
    ) -> tuple[PyTree, PyTree, None]:
        """Run chunk after chunk by the best kernel, keeping for a gradient what goes into each."""
        x_1 = first_input(self.function, xs)
        state = as_carry(self.function, StepOf(cell), params, state, x_1, None)

        def run(state: PyTree, chunk: Any) -> tuple[PyTree, PyTree]:
            xs, valid, reset, times = chunk
            whole = dataclasses.replace(self, times=times, valid=valid, reset=reset, remat=None)
            final, ys, _ = whole(cell, params, xs, state, key)
            return final, ys

        steps: Any = self.remat
        chunks = (xs, self.valid, self.reset, self.times)
        final, ys = in_chunks(run, state, chunks, steps, reverse=self.reverse)
        return final, ys, None

    def _problem(
        self, cell: Any, params: PyTree, xs: PyTree, state: PyTree, key: PRNGKey | None
    ) -> Problem:
        """What a kernel is asked for."""
        step, value = StepOf(cell), is_value(cell)
        operands, inputs, carry = self._operands(cell, step, params, xs, state, key)
        return Problem(
            function=self.function,
            cell=cell,
            # JAX caches traces by body: one that is no value must not equal that of another call.
            step=step if value else step.anew(),
            is_value=value,
            operands=operands,
            inputs=inputs,
            carry=carry,
            padding=self.padding,
            reverse=self.reverse,
            remat=self.remat,
            unroll=self.unroll,
            with_states=self.with_states,
            safe_inputs=self.safe_inputs,
        )

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

    def _goes_through(self, cell: Transform) -> bool:
        """Whether the cells inside are run one after the other, each over the whole sequence."""
        if needs_sequence(cell):
            return True
        return self.remat is None and takes_sequence(cell, self._gains)

    def _goes_in_chunks(self, cell: Any) -> bool:
        """Whether a kernel runs chunks of steps, where a gradient is to keep less."""
        T = self.times.shape[0]
        known = isinstance(T, int) and T > 0
        chunks = isinstance(self.remat, int) and not self.with_states and known
        plain = self.valid is None or self.padding == "zero"
        return chunks and plain and takes_sequence(cell, self._gains)

    def _gains(self, cell: Any) -> bool:
        return gains_from_sequence(cell, self.implementation)

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
    cell = as_cell(function, cell, params, anew=reset is not None or state is None)
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
