"""A step as a linen module, for Flax's own loops."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax.layers import (
    CarryOrder,
    CellOrMaker,
    advance_layer,
    cell_for,
    check_carry_order,
    feature_axes,
    initial_carry,
    plain_carry,
    unroll_cell,
)
from lstm_jax.linen.params import dropout_key, module_params, partition_boxes
from lstm_jax.transforms.transform import AnyCell, draws
from lstm_jax.types import PRNGKey, PyTree


class RNNCell(nn.RNNCellBase):
    """One step of any cell that has single steps, for Flax's own `RNN`, `Bidirectional` and `scan`.

    Flax's loops call the step. `Recurrent`, and `lstm_jax.linen.RNN` where the cell draws no random
    numbers, use the backends of `lstm_jax.unroll`.

    Random numbers are drawn from the key that Flax passes to a step. With
    ``split_rngs={"params": False, "dropout": True}`` each step has its own key, and even a mask
    that belongs to a whole sequence, as in `lstm_jax.recurrent_dropout`, is drawn at every step.
    With ``"dropout": False`` all steps share all masks. `Recurrent` draws each mask as its
    transform defines it.

    Attributes:
      cell: a cell, or a function from the number of input features to one.
      deterministic: whether no random numbers are drawn.
      partitioning: names of axes for parameters by their name, as in `SequenceLayer`.
      feature_axes: number of feature axes, for a function, as in `Recurrent`.
      carry_order: the order of a plain pair: ``"hc"`` for ``(h, c)``, or ``"ch"`` for ``(c, h)`` as
        in Flax. The fields of an `LSTMState` are read by name.

    >>> import jax, jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> layer, inputs = nn.RNN(RNNCell(lj.LSTM(3, 5))), jnp.ones((2, 7, 3))
    >>> layer.init_with_output(jax.random.key(0), inputs)[0].shape
    (2, 7, 5)
    """

    cell: CellOrMaker
    deterministic: bool | None = None
    partitioning: Mapping[str, tuple[str | None, ...]] | None = None
    feature_axes: int = 1
    carry_order: CarryOrder = "hc"

    @nn.compact
    def __call__(
        self, carry: PyTree, inputs: PyTree, *, deterministic: bool | None = None
    ) -> tuple[PyTree, Float[Array, "... H"]]:
        """One step.

        Args:
          carry: ``s_{t-1}``: a state with named fields, plain tuples in the order of the fields
            (see `carry_order`), or an array where a state has one field.
          inputs: ``x_t`` ``[..., I]``.
          deterministic: overrides the field.

        Returns:
          ``(s_t, y_t)``, the new carry in the structure of the old one.

        Raises:
          TypeError, ValueError: as `lstm_jax.advance`.
        """
        check_carry_order("RNNCell", self.carry_order)
        cell = cell_for("RNNCell", self.cell, inputs, self.feature_axes)
        params = module_params(self, cell, partition_boxes(self.partitioning))
        key = dropout_key(self, cell, deterministic)
        return advance_layer(cell, params, carry, inputs, key, self.carry_order)

    @nn.compact
    def unroll(
        self, inputs: Array, carry: PyTree, step_shape: tuple[int, ...], **call: Any
    ) -> tuple[PyTree, Array]:
        """All steps at once, by `lstm_jax.unroll`; `RNN` calls this.

        Args:
          inputs: ``[..., T, I]``, or ``[T, ..., I]`` with ``time_major=True``.
          carry: the carry before the first step.
          step_shape: the shape of one step's input.
          **call: arguments of `unroll_layer`.

        Returns:
          ``(carry, outputs)``.
        """
        cell = self._cell_for(step_shape)
        params = module_params(self, cell, partition_boxes(self.partitioning))
        return unroll_cell(cell, params, inputs, carry, self.carry_order, **call)

    @nn.nowrap
    def draws(self, step_shape: tuple[int, ...]) -> bool:
        """Whether the cell for inputs of this shape draws random numbers."""
        return draws(self._cell_for(step_shape))

    @nn.nowrap
    def _cell_for(self, step_shape: tuple[int, ...]) -> AnyCell:
        x = jax.ShapeDtypeStruct(step_shape, jnp.float32)
        return cell_for("RNNCell", self.cell, x, self.feature_axes)

    @nn.nowrap
    def initialize_carry(self, rng: PRNGKey | None, input_shape: tuple[int, ...]) -> PyTree:
        """The state before the first step.

        Args:
          rng: not used, as initial states are not random; Flax has this argument.
          input_shape: shape of one step's input ``[..., I]``.

        Returns:
          The cell's own initial state, also where a learned one would start from it, as plain
          tuples; an array if it has one field.
        """
        del rng
        check_carry_order("RNNCell", self.carry_order)
        state = initial_carry("RNNCell", self.cell, input_shape, self.feature_axes)
        return plain_carry(state, self.carry_order)

    @property
    def num_feature_axes(self) -> int:
        """Number of feature axes of an input."""
        return feature_axes(self.cell, self.feature_axes)
