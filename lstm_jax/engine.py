"""From a cell, a sequence, and what is asked of them, to a kernel and its operands.

A `Run` is made by `lstm_jax.prepare`, which checks what goes into it.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.backends import (
    BACKENDS,
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
from lstm_jax.backends.checks import as_carry, check_rows, first_input, initial_output
from lstm_jax.masks import forward_fill, opposite_resets, zero_elsewhere
from lstm_jax.sharding import match_sharding
from lstm_jax.steps import StepOf, is_value
from lstm_jax.transforms.step_rng import StepRng
from lstm_jax.transforms.transform import Transform, initial_state, needs_sequence, takes_sequence
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
      return_states: whether to keep every state.
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
    return_states: bool = False
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
        final, outputs, states = BACKENDS[choice.kernel].solve(problem)
        states = _with_initial(problem.carry.state, states) if run.return_states else None
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
        first = initial_output(
            cell, state, first_input(self.function, xs), first_input(self.function, ys)
        )
        return final, forward_fill(self.valid, ys, first, reverse=self.reverse), states

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
            return_states=self.return_states,
            safe_inputs=self.safe_inputs,
        )

    def _operands(
        self, cell: Any, step: Apply, params: PyTree, xs: PyTree, state: PyTree, key: Any
    ) -> tuple[Operands, Inputs, Carry]:
        """Operands, inputs and carry of a loop over one cell."""
        x_1 = first_input(self.function, xs)
        rng = None if key is None else StepRng(key, self.times[:1].sum())
        state = as_carry(self.function, step, params, state, x_1, rng)
        initial = None
        if self.valid is not None or self.reset is not None:
            rows = (self.reset if self.valid is None else self.valid).shape[1:]  # pyright: ignore[reportOptionalMemberAccess]
            check_rows(self.function, rows, xs=x_1, state=state)
            if self.reset is not None:
                own = jax.tree.leaves(initial_state(cell, params, rows))
                initial = jax.tree.unflatten(
                    jax.tree.structure(state),
                    [
                        match_sharding(jnp.asarray(a, b.dtype), jax.typeof(b))
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
        chunks = isinstance(self.remat, int) and not self.return_states and known
        plain = self.valid is None or self.padding == "zero"
        return chunks and plain and takes_sequence(cell, self._gains)

    def _gains(self, cell: Any) -> bool:
        return gains_from_sequence(cell, self.implementation)

    def _opposite(self) -> "Run":
        reset = self.reset
        if reset is not None:
            reset = opposite_resets(reset, self.valid, reverse=self.reverse)
        return dataclasses.replace(self, reset=reset, reverse=not self.reverse)


def _with_initial(initial: PyTree, states: PyTree) -> PyTree:
    """All states with the initial one at the front."""
    return jax.tree.map(lambda s, ss: jnp.concatenate([s[None], ss]), initial, states)
