"""Flax's `RNN` by its name: our cells in it run by `lstm_jax.unroll`."""

from typing import Any

import flax.linen as nn
import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Int

from lstm_jax.layers import check_is_step, step_shape
from lstm_jax.linen.cell import RNNCell
from lstm_jax.linen.drop_in import DropInCell
from lstm_jax.options import Options
from lstm_jax.types import PyTree


class RNN(nn.RNN):
    """`flax.linen.RNN`, which unrolls the cells of this library by `lstm_jax.unroll`.

    These are `RNNCell`, `LSTMCell`, `OptimizedLSTMCell`, `GRUCell`, `SimpleCell`, `ConvLSTMCell`,
    and subclasses that keep their ``__call__``. Other cells run in Flax's loop, as do cells that
    draw random numbers, and all cells where a field other than `split_rngs` changes what the loop
    does with variables. The fields, the parameters (below ``cell``) and the carries, such as
    ``(c, h)``, are those of Flax; the last carry has the structure of the first. Outputs at padding
    are zero, and a row of length 0 ends with its initial carry. It can be given to
    `flax.linen.Bidirectional`.

    >>> import jax.numpy as jnp
    >>> from lstm_jax.linen import LSTMCell
    >>> layer, inputs = RNN(LSTMCell(5), return_carry=True), jnp.ones((2, 7, 3))
    >>> ((c, h), outputs), variables = layer.init_with_output(jax.random.key(0), inputs)
    >>> outputs.shape, sorted(variables["params"]["cell"])
    ((2, 7, 5), ['bias', 'kernel', 'recurrent_kernel'])
    """

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: PyTree = None,
        init_key: Any = None,
        seq_lengths: Int[ArrayLike, "..."] | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
    ) -> Any:
        """Unroll the cell over a sequence.

        Args:
          inputs: ``[..., T, I]``, or ``[T, ..., I]`` with `time_major`.
          initial_carry: the carry before the first step; that of the cell when not given.
          init_key: random key for the cell's carry; ``jax.random.key(0)`` when not given.
          seq_lengths: number of steps of every row ``[...]``.
          return_carry: overrides the field.
          time_major: overrides the field.
          reverse: overrides the field.
          keep_order: overrides the field.

        Returns:
          The outputs ``[..., T, H]``; with `return_carry`, ``(carry, outputs)``.

        Raises:
          TypeError, ValueError: as `lstm_jax.unroll`.
        """
        cell: Any = self.cell
        check_is_step("RNN", cell)
        time_major = self.time_major if time_major is None else time_major
        shape = step_shape(inputs, cell.num_feature_axes, time_major)
        if not self._is_unrolled(cell, shape):
            return super().__call__(
                inputs, initial_carry=initial_carry, init_key=init_key, seq_lengths=seq_lengths,  # pyright: ignore[reportArgumentType]
                return_carry=return_carry, time_major=time_major, reverse=reverse,
                keep_order=keep_order,
            )  # fmt: skip
        return_carry = self.return_carry if return_carry is None else return_carry
        if initial_carry is None:
            key = jax.random.key(0) if init_key is None else init_key
            initial_carry = cell.initialize_carry(key, shape)
        carry, outputs = cell.unroll(
            inputs,
            initial_carry,
            shape,
            seq_lengths=seq_lengths,
            time_major=time_major,
            reverse=self.reverse if reverse is None else reverse,
            keep_order=self.keep_order if keep_order is None else keep_order,
            options=Options(unroll=self.unroll),
        )
        return (carry, outputs) if return_carry else outputs

    def _is_unrolled(self, cell: Any, shape: tuple[int, ...]) -> bool:
        """Whether `lstm_jax.unroll` computes what Flax's loop would."""
        plain = not self.variable_axes and not self.variable_carry
        plain = plain and self.variable_broadcast == "params"
        if isinstance(cell, RNNCell):
            ours = type(cell).__call__ is RNNCell.__call__ and not cell.draws(shape)
        else:
            ours = isinstance(cell, DropInCell) and type(cell).__call__ is DropInCell.__call__
        return plain and ours
