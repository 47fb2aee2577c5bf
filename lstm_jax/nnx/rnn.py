"""Flax's `RNN` by its name: our cells in it run by `lstm_jax.unroll`."""

from typing import Any

from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Int

from lstm_jax.layers import check_is_step, resolve_flags, step_shape, unroll_cell
from lstm_jax.nnx.cell import RNNCell
from lstm_jax.options import Options
from lstm_jax.transforms.transform import draws
from lstm_jax.types import PyTree


class RNN(nnx.RNN):
    """`flax.nnx.RNN`, which unrolls the cells of this library by `lstm_jax.unroll`.

    These are `RNNCell`, `LSTMCell`, `OptimizedLSTMCell`, `GRUCell`, `SimpleCell`, and subclasses
    that keep their ``__call__``. Other cells run in Flax's loop, as do cells that draw random
    numbers, and all cells where `state_axes` is given. The arguments, and the carries, such as
    ``(c, h)``, are those of Flax; the last carry has the structure of the first. Outputs at padding
    are zero, and a row of length 0 ends with its initial carry. It can be given to
    `flax.nnx.Bidirectional`.

    Args:
      cell: a cell.
      **arguments: those of `flax.nnx.RNN`.

    >>> import jax.numpy as jnp
    >>> from lstm_jax.nnx import LSTMCell
    >>> layer = RNN(LSTMCell(3, 5, rngs=nnx.Rngs(0)), return_carry=True)
    >>> (c, h), outputs = layer(jnp.ones((2, 7, 3)))
    >>> c.shape, outputs.shape
    ((2, 5), (2, 7, 5))
    """

    def __init__(self, cell: Any, **arguments: Any) -> None:
        check_is_step("RNN", cell)
        super().__init__(cell, **arguments)
        self.flax_loop = arguments.get("state_axes") is not None

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: PyTree = None,
        seq_lengths: Int[ArrayLike, "..."] | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: Any = None,
    ) -> Any:
        """Unroll the cell over a sequence.

        Args:
          inputs: ``[..., T, I]``, or ``[T, ..., I]`` with `time_major`.
          initial_carry: the carry before the first step; that of the cell when not given.
          seq_lengths: number of steps of every row ``[...]``.
          return_carry: overrides the attribute.
          time_major: overrides the attribute.
          reverse: overrides the attribute.
          keep_order: overrides the attribute.
          rngs: random streams for the cell's carry, in place of the layer's own.

        Returns:
          The outputs ``[..., T, H]``; with `return_carry`, ``(carry, outputs)``.

        Raises:
          TypeError, ValueError: as `lstm_jax.unroll`.
        """
        cell: Any = self.cell
        if not self._is_unrolled(cell):
            return super().__call__(
                inputs, initial_carry=initial_carry, seq_lengths=seq_lengths,  # pyright: ignore[reportArgumentType]
                return_carry=return_carry, time_major=time_major, reverse=reverse,
                keep_order=keep_order, rngs=rngs,
            )  # fmt: skip
        flags = resolve_flags(
            self,
            time_major=time_major,
            reverse=reverse,
            keep_order=keep_order,
            return_carry=return_carry,
        )
        return_carry, time_major = flags["return_carry"], flags["time_major"]
        if initial_carry is None:
            shape = step_shape(inputs, cell.num_feature_axes, time_major)
            initial_carry = cell.initialize_carry(shape, self.rngs if rngs is None else rngs)
        carry, outputs = unroll_cell(
            cell.cell,
            cell.params,
            inputs,
            initial_carry,
            cell.carry_order,
            seq_lengths=seq_lengths,
            time_major=time_major,
            reverse=flags["reverse"],
            keep_order=flags["keep_order"],
            options=Options(unroll=self.unroll),
        )
        return (carry, outputs) if return_carry else outputs

    def _is_unrolled(self, cell: Any) -> bool:
        """Whether `lstm_jax.unroll` computes what Flax's loop would."""
        ours = isinstance(cell, RNNCell) and type(cell).__call__ is RNNCell.__call__
        return ours and not self.flax_loop and not draws(cell.cell)
