"""The plain scan as a kernel: it can do everything."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.backends.body import Body, Carry, Emit
from lstm_jax.backends.checks import first_input, initial_output
from lstm_jax.backends.problem import Problem
from lstm_jax.backends.scan import compiled_scan, scan
from lstm_jax.transforms.step_rng import StepRng
from lstm_jax.types import PyTree


def unsupported_cell_reason(cell: Any) -> str | None:
    """It runs any cell."""
    del cell


def unsupported_reason(problem: Problem) -> str | None:
    """Nothing is too much for it."""
    del problem


def not_preferred_reason() -> str | None:
    """It is what is left."""


def solve(problem: Problem) -> tuple[PyTree, PyTree, PyTree]:
    """Run any cell step by step."""
    emit = shown_and_state if problem.return_states else shown
    final, (outputs, states) = scanned(problem, emit)
    return final, outputs, states


def scanned(problem: Problem, emit: Emit) -> tuple[PyTree, tuple[PyTree, PyTree]]:
    """Run a cell step by step: ``(final state, what emit keeps)``."""
    problem = with_shown(problem)
    final, kept = (compiled_scan if problem.is_value else scan)(
        body_of(problem, emit),
        problem.operands,
        problem.inputs,
        problem.carry,
        reverse=problem.reverse,
        unroll=problem.unroll,
        remat=problem.remat,
    )
    return final.state, kept


def body_of(problem: Problem, emit: Emit) -> Body:
    """The step of a loop."""
    return Body(problem.step, emit, problem.padding, problem.safe_inputs)


def with_shown(problem: Problem) -> Problem:
    """The problem with what is shown at first, where padding holds what was shown."""
    if problem.inputs.valid is None or problem.padding != "hold":
        return problem
    params, _, key = problem.operands
    state = problem.carry.state
    x_1 = first_input(problem.function, problem.inputs.x)
    rng = None if key is None else StepRng(key, jnp.asarray(0, jnp.int32))
    _, like = jax.eval_shape(problem.step, params, state, x_1, rng)
    carry = Carry(state, initial_output(problem.cell, state, x_1, like))
    return dataclasses.replace(problem, carry=carry)


def shown(params: Any, state_tm1: Any, x_t: Any, state_t: Any, y_t: Any, rng: Any) -> Any:
    """Keep what is shown."""
    del params, state_tm1, x_t, state_t, rng
    return y_t, None


def shown_and_state(params: Any, state_tm1: Any, x_t: Any, state_t: Any, y_t: Any, rng: Any) -> Any:
    """Keep what is shown, and the state."""
    del params, state_tm1, x_t, rng
    return y_t, state_t
