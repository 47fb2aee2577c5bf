"""A step as an NNX module, for Flax's own loops."""

from typing import Any, ClassVar

import jax
from flax import nnx
from jaxtyping import Array, Float

from lstm_jax.layers import (
    CarryOrder,
    advance_layer,
    check_carry_order,
    feature_axes,
    initial_carry,
    plain_carry,
    with_checked_names,
)
from lstm_jax.nnx.params import CellModule, Metadata, Randomness, dropout_key
from lstm_jax.transforms.transform import AnyCell
from lstm_jax.types import PyTree


class RNNCell(CellModule, nnx.RNNCellBase):
    """One step of any cell that has single steps, for Flax's own `RNN`, `Bidirectional` and `scan`.

    Flax's loops call the step. `Recurrent`, and `lstm_jax.nnx.RNN` where the cell draws no random
    numbers, use the backends of `lstm_jax.unroll`.

    In `flax.nnx.RNN` each step draws a new key from the module's stream, and even a mask that
    belongs to a whole sequence, as in `lstm_jax.recurrent_dropout`, is drawn at every step. With
    ``broadcast_rngs="dropout"`` all steps share all masks. `Recurrent` draws each mask as its
    transform defines it.

    Args:
      cell: any cell.
      rngs: the parameters are drawn from its stream ``params``; a cell that draws random numbers
        keeps a fork of its stream ``dropout``.
      deterministic: whether no random numbers are drawn; `eval` and `train` of Flax set it.
      metadata: keyword arguments of `flax.nnx.Param` for parameters by their name.
      carry_order: the order of a plain pair: ``"hc"`` for ``(h, c)``, or ``"ch"`` for ``(c, h)`` as
        in Flax. The fields of an `LSTMState` are read by name.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> layer = nnx.RNN(RNNCell(lj.LSTM(3, 5), rngs=nnx.Rngs(0)))
    >>> layer(jnp.ones((2, 7, 3))).shape
    (2, 7, 5)
    """

    broadcasts_carry: ClassVar[bool] = False
    """Whether the batch axes of a carry are broadcast to those of an input."""

    def __init__(
        self,
        cell: AnyCell,
        *,
        rngs: nnx.Rngs,
        deterministic: bool = False,
        metadata: Metadata | None = None,
        carry_order: CarryOrder = "hc",
    ) -> None:
        check_carry_order(type(self).__name__, carry_order)
        self.carry_order: CarryOrder = carry_order
        super().__init__(cell, rngs=rngs, deterministic=deterministic, metadata=metadata)

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        carry: PyTree,
        inputs: PyTree,
        *,
        deterministic: bool | None = None,
        rngs: Randomness | None = None,
    ) -> tuple[PyTree, Float[Array, "... H"]]:
        """One step.

        Args:
          carry: ``s_{t-1}``: a state with named fields, plain tuples in the order of the fields
            (see `carry_order`), or an array where a state has one field.
          inputs: ``x_t`` ``[..., I]``.
          deterministic: overrides the attribute.
          rngs: source of random numbers in place of the module's own stream.

        Returns:
          ``(s_t, y_t)``, the new carry in the structure of the old one.

        Raises:
          TypeError, ValueError: as `lstm_jax.advance`.
        """
        key = dropout_key(self, deterministic, rngs)
        return advance_layer(
            self.cell,
            self.params,
            carry,
            inputs,
            key,
            self.carry_order,
            broadcast=self.broadcasts_carry,
        )

    def initialize_carry(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> PyTree:
        """The state before the first step.

        Args:
          input_shape: shape of one step's input ``[..., I]``.
          rngs: used by `carry_init` alone, as initial states are not random.
          carry_init: initializer of the leaves of the state, in place of the cell's own.

        Returns:
          The state as plain tuples, or an array if it has one field; the cell's own also where a
          learned one would start from it.

        Raises:
          ValueError: when `carry_init` is given without `rngs`.
        """
        state = initial_carry(type(self).__name__, self.cell, input_shape)
        carry = plain_carry(state, self.carry_order)
        if carry_init is None:
            return carry
        if rngs is None:
            raise ValueError(f"{type(self).__name__}: carry_init needs rngs; got None")
        stream = rngs.carry if isinstance(rngs, nnx.Rngs) else rngs
        return jax.tree.map(lambda leaf: carry_init(stream(), leaf.shape, leaf.dtype), carry)

    @property
    def num_feature_axes(self) -> int:
        """Number of feature axes of an input."""
        return feature_axes(self.cell)


with_checked_names(RNNCell)
