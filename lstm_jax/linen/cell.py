"""A step as a linen module, for Flax's own loops."""

from collections.abc import Mapping

import flax.linen as nn
from jaxtyping import Array, Float

from lstm_jax.layers import CellOrMaker, advance_layer, carry_for, cell_for, feature_axes
from lstm_jax.linen.params import declared, key_of, partitioned
from lstm_jax.types import PRNGKey, PyTree


class RNNCell(nn.RNNCellBase):
    """Any cell that goes step by step, for Flax's own `RNN`, `Bidirectional` and `scan`.

    `Recurrent` has the kernels; this has Flax's loop around one step.

    What is random is drawn from the key of the step alone, so it takes
    ``split_rngs={"params": False, "dropout": True}`` for every step to draw its own: a mask that
    belongs to a whole sequence, as of `lstm_jax.recurrent_dropout`, is then drawn anew as well.
    With ``"dropout": False`` all steps share whatever is drawn. `Recurrent` does both right.

    Attributes:
      cell: a cell, or a function from the number of input features to one.
      deterministic: whether nothing random is drawn.
      partitioning: names of axes by the name of a parameter, as in `SequenceLayer`.

    >>> import jax, jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> layer, inputs = nn.RNN(RNNCell(lj.LSTM(3, 5))), jnp.ones((2, 7, 3))
    >>> layer.init_with_output(jax.random.key(0), inputs)[0].shape
    (2, 7, 5)
    """

    cell: CellOrMaker
    deterministic: bool | None = None
    partitioning: Mapping[str, tuple[str | None, ...]] | None = None

    @nn.compact
    def __call__(
        self, carry: PyTree, inputs: PyTree, *, deterministic: bool | None = None
    ) -> tuple[PyTree, Float[Array, "... H"]]:
        """One step.

        Args:
          carry: ``s_{t-1}``; for an LSTM ``(h, c)``.
          inputs: ``x_t`` ``[..., I]``.
          deterministic: in place of the field.

        Returns:
          ``(s_t, y_t)``, the carry in the structure of the one given.

        Raises:
          TypeError, ValueError: as `lstm_jax.advance`.
        """
        cell = cell_for("RNNCell", self.cell, inputs)
        params = declared(self, cell, partitioned(self.partitioning))
        return advance_layer(cell, params, carry, inputs, key_of(self, cell, deterministic))

    @nn.nowrap
    def initialize_carry(self, rng: PRNGKey | None, input_shape: tuple[int, ...]) -> PyTree:
        """The state before the first step.

        Args:
          rng: taken for Flax's sake; initial states are not random.
          input_shape: shape of one step's input ``[..., I]``.

        Returns:
          The cell's own initial state; where it is learned, the one it is learned from.
        """
        del rng
        return carry_for("RNNCell", self.cell, input_shape)

    @property
    def num_feature_axes(self) -> int:
        """Axes of features in an input."""
        return feature_axes(self.cell)
