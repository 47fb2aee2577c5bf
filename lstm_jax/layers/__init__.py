"""What layers for linen and for NNX have in common: axes, order of time, and names.

Flax puts time after the batch axes, calls lengths ``seq_lengths`` and a state a carry, and gives
the outputs of a reversed run in the order in which they came.
"""

from lstm_jax.layers.cells import (
    CellOrMaker,
    carry_for,
    cell_for,
    feature_axes,
    lstm_cell,
    over_both,
)
from lstm_jax.layers.unboxed import Unboxed
from lstm_jax.layers.unroll_layer import advance_layer, as_key, or_else, unroll_layer

__all__ = [
    "CellOrMaker",
    "Unboxed",
    "advance_layer",
    "as_key",
    "carry_for",
    "cell_for",
    "feature_axes",
    "lstm_cell",
    "or_else",
    "over_both",
    "unroll_layer",
]
