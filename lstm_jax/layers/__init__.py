"""What the layers for linen and for NNX share: axes, order of time, and argument names of Flax.

Flax puts time after the batch axes, calls lengths ``seq_lengths`` and a state a carry, and returns
the outputs of a reversed layer in reversed order.
"""

from lstm_jax.layers.argument_names import check_names, with_checked_names
from lstm_jax.layers.carries import CarryOrder, carry_like, check_carry_order, plain_carry
from lstm_jax.layers.cells import (
    CellOrMaker,
    bidirectional_cell,
    cell_for,
    check_is_step,
    check_no_module,
    feature_axes,
    gate_blocks,
    initial_carry,
    layer_cell,
)
from lstm_jax.layers.fields import (
    GRUArgs,
    GRUFields,
    LayerArgs,
    LayerFields,
    LSTMArgs,
    LSTMFields,
    TanhRNNFields,
    documents,
)
from lstm_jax.layers.metadata_init import MetadataInit
from lstm_jax.layers.unroll_layer import (
    advance_layer,
    as_key,
    resolve_flags,
    step_shape,
    unroll_cell,
    unroll_layer,
)

__all__ = [
    "CarryOrder",
    "CellOrMaker",
    "GRUArgs",
    "GRUFields",
    "LSTMArgs",
    "LSTMFields",
    "LayerArgs",
    "LayerFields",
    "MetadataInit",
    "TanhRNNFields",
    "advance_layer",
    "as_key",
    "bidirectional_cell",
    "carry_like",
    "cell_for",
    "check_carry_order",
    "check_is_step",
    "check_names",
    "check_no_module",
    "documents",
    "feature_axes",
    "gate_blocks",
    "initial_carry",
    "layer_cell",
    "plain_carry",
    "resolve_flags",
    "step_shape",
    "unroll_cell",
    "unroll_layer",
    "with_checked_names",
]
