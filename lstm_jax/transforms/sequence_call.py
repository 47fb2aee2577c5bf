"""The argument of `Transform.apply_sequence` that unrolls the cells inside of a transform."""

from typing import Any, Protocol

import jax

from lstm_jax.types import PRNGKey, PyTree


class SequenceCall(Protocol):
    """A call of `unroll`, as passed to `Transform.apply_sequence`.

    It has the lengths, masks, resets and options of the call, and applies them to every cell.
    """

    @property
    def times(self) -> jax.Array | None:
        """Index of every step ``[T]``; None without a key."""
        ...

    def zero_masked(self, xs: PyTree) -> PyTree:
        """The inputs with zeros at masked steps."""
        ...

    def unroll_child(
        self,
        cell: Any,
        params: PyTree,
        xs: PyTree,
        state: PyTree,
        key: PRNGKey | None,
        *,
        opposite: bool = False,
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Unroll a cell over the whole sequence.

        Args:
          cell: one of the cells inside.
          params: its parameters.
          xs: its inputs ``[T, ...]``.
          state: its state before the first step.
          key: its key, see `child_key`; or None.
          opposite: unroll in the opposite direction of time.

        Returns:
          ``(final, outputs, states)``, the last None where no states are requested.
        """
        ...
