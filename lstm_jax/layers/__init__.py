"""What the layers for linen and for NNX share: axes, order of time, and argument names of Flax.

Flax puts time after the batch axes, calls lengths ``seq_lengths`` and a state a carry, and returns
the outputs of a reversed layer in reversed order.
"""

from lstm_jax.layers.cells import (
    CellOrMaker,
    bidirectional_cell,
    cell_for,
    feature_axes,
    initial_carry,
    lstm_cell,
)
from lstm_jax.layers.metadata_init import MetadataInit
from lstm_jax.layers.unroll_layer import advance_layer, as_key, resolve_flags, unroll_layer

__all__ = [
    "CellOrMaker",
    "MetadataInit",
    "advance_layer",
    "as_key",
    "bidirectional_cell",
    "cell_for",
    "feature_axes",
    "initial_carry",
    "lstm_cell",
    "resolve_flags",
    "unroll_layer",
]
