"""One step as a loop runs it: resets before, the cell, masks after. No cell knows of these."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax

from lstm_jax.masks import where_rows, zero_elsewhere
from lstm_jax.transforms.step_rng import StepRng
from lstm_jax.types import PRNGKey, PyTree

Padding = Literal["zero", "hold", "raw"]
"""What outputs show at masked steps."""

PADDINGS: tuple[Padding, ...] = ("zero", "hold", "raw")

Apply = Callable[[PyTree, PyTree, PyTree, StepRng | None], tuple[PyTree, PyTree]]
"""One step and what it shows: ``(params, s_{t-1}, x_t, rng) -> (s_t, y_t)``."""

Emit = Callable[[PyTree, PyTree, PyTree, PyTree, PyTree, StepRng | None], tuple[PyTree, PyTree]]
"""What to keep: ``(params, s_{t-1}, x_t, s_t, y_t, rng) -> (shown, exact)``; only what is shown
is treated as padding at masked steps."""


class Operands(NamedTuple):
    """What is the same at every step.

    Attributes:
      params: the cell's parameters.
      initial: the state that resets return to, or None without resets.
      key: what random numbers are drawn from, or None for none.
    """

    params: PyTree
    initial: PyTree
    key: PRNGKey | None


class Inputs(NamedTuple):
    """What differs from step to step, each with leaves ``[T, ...]``, or None.

    Attributes:
      x: the cell's inputs.
      valid: which rows have this step.
      reset: which rows start anew before it.
      t: index of the step.
    """

    x: PyTree
    valid: jax.Array | None
    reset: jax.Array | None
    t: jax.Array | None


class Carry(NamedTuple):
    """What goes from one step to the next.

    Attributes:
      state: the cell's state.
      shown: what was last shown, for padding that holds it; otherwise None.
    """

    state: PyTree
    shown: PyTree = None


@dataclass(frozen=True)
class Body:
    """One step of a loop, as a value where `apply` and `emit` are.

    A masked step holds the state, and resets of masked steps do nothing. Inputs of masked steps are
    made zero before the cell sees them: holding the state alone would leave NaN in gradients.

    Args:
      apply: the cell's step.
      emit: what to keep of it.
      padding: what to show at masked steps.
      safe_inputs: whether inputs of masked steps are left for the cell to see.
    """

    apply: Apply
    emit: Emit
    padding: Padding
    safe_inputs: bool = False

    def __call__(
        self, operands: Operands, carry: Carry, inputs: Inputs
    ) -> tuple[Carry, tuple[PyTree, PyTree]]:
        """Run the step.

        Args:
          operands: what is the same at every step.
          carry: what the last step left.
          inputs: those of this step.

        Returns:
          ``(carry, (shown, exact))``.
        """
        params, initial, key = operands
        x_t, valid, reset, t = inputs
        state_tm1 = carry.state
        if reset is not None:
            starts = reset if valid is None else reset & valid
            state_tm1 = where_rows(starts, initial, state_tm1)
        if valid is not None and not self.safe_inputs:
            x_t = zero_elsewhere(valid, x_t)
        rng = None if key is None or t is None else StepRng(key, t)
        state_t, y_t = self.apply(params, state_tm1, x_t, rng)
        if valid is not None:
            state_t = where_rows(valid, state_t, state_tm1)
        shown, exact = self.emit(params, state_tm1, x_t, state_t, y_t, rng)
        if valid is not None and self.padding == "zero":
            shown = zero_elsewhere(valid, shown)
        if valid is not None and self.padding == "hold":
            shown = where_rows(valid, shown, carry.shown)
            return Carry(state_t, shown), (shown, exact)
        return Carry(state_t), (shown, exact)
