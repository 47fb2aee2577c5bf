"""A step as an NNX module, for Flax's own loops."""

from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float

from lstm_jax.layers import advance_layer, carry_for, feature_axes
from lstm_jax.nnx.params import CellModule, Randomness, key_of
from lstm_jax.types import PyTree


class RNNCell(CellModule, nnx.RNNCellBase):
    """Any cell that goes step by step, for Flax's own `RNN`, `Bidirectional` and `scan`.

    `Recurrent` has the kernels; this has Flax's loop around one step.

    In `flax.nnx.RNN` every step draws from the module's stream, so that each draw is of its own: a
    mask that belongs to a whole sequence, as of `lstm_jax.recurrent_dropout`, is drawn anew at
    every step. With ``broadcast_rngs="dropout"`` all steps share whatever is drawn. `Recurrent`
    does both right.

    Args:
      cell: any cell.
      rngs: draws the parameters from ``params``, and keeps a stream ``dropout`` for a cell that
        draws random numbers.
      deterministic: whether nothing random is drawn; `eval` and `train` of Flax set it.
      metadata: by the name of a parameter, keywords for its `flax.nnx.Param`.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> layer = nnx.RNN(RNNCell(lj.LSTM(3, 5), rngs=nnx.Rngs(0)))
    >>> layer(jnp.ones((2, 7, 3))).shape
    (2, 7, 5)
    """

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
          carry: ``s_{t-1}``; for an LSTM ``(h, c)``.
          inputs: ``x_t`` ``[..., I]``.
          deterministic: in place of the module's own.
          rngs: what to draw from, in place of the module's own stream.

        Returns:
          ``(s_t, y_t)``, the carry in the structure of the one given.

        Raises:
          TypeError, ValueError: as `lstm_jax.advance`.
        """
        key = key_of(self, deterministic, rngs)
        return advance_layer(self.cell, self.params, carry, inputs, key)

    def initialize_carry(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> PyTree:
        """The state before the first step.

        Args:
          input_shape: shape of one step's input ``[..., I]``.
          rngs: taken for Flax's sake; initial states are not random.
          carry_init: what draws the leaves of the state, in place of the cell's own.

        Returns:
          The state; where it is learned, the one it is learned from.
        """
        carry = carry_for("RNNCell", self.cell, input_shape)
        if carry_init is None:
            return carry
        stream = rngs.carry if isinstance(rngs, nnx.Rngs) else rngs
        return jax.tree.map(lambda leaf: carry_init(stream(), leaf.shape, leaf.dtype), carry)

    @property
    def num_feature_axes(self) -> int:
        """Axes of features in an input."""
        return feature_axes(self.cell)
