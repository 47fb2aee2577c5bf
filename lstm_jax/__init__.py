"""A functional LSTM for JAX: pure steps, cells that compose, one unroll.

>>> import jax, jax.numpy as jnp
>>> import lstm_jax as lj
>>> cell = lj.LSTM(input_size=3, hidden_size=5)
>>> params = cell.init(jax.random.key(0))
>>> final, outputs = lj.unroll(cell, params, jnp.ones((7, 2, 3)))
>>> outputs.shape
(7, 2, 5)
"""

from lstm_jax import initializers
from lstm_jax.bidirectional import Directions, bidirectional
from lstm_jax.cells import (
    LSTM,
    LSTMGates,
    TanhRNN,
    TanhRNNParams,
    TanhRNNState,
    lstm_gates,
    lstm_init,
    lstm_step,
)
from lstm_jax.diagnostics import Trace, gradient_flow, trace
from lstm_jax.ragged import mask_of_lengths, reset_after
from lstm_jax.tbptt import tbptt
from lstm_jax.transforms import (
    LearnedParams,
    Noise,
    StateTransform,
    Transform,
    candidate_dropout,
    clip,
    dropout,
    learned_initial_state,
    recurrent_dropout,
    residual,
    skip,
    stack,
    weight_drop,
    zoneout,
)
from lstm_jax.types import Cell, LSTMParams, LSTMState, Policy
from lstm_jax.unroll import advance, unroll

__version__ = "0.1.0"

__all__ = [
    "LSTM",
    "Cell",
    "Directions",
    "LSTMGates",
    "LSTMParams",
    "LSTMState",
    "LearnedParams",
    "Noise",
    "Policy",
    "StateTransform",
    "TanhRNN",
    "TanhRNNParams",
    "TanhRNNState",
    "Trace",
    "Transform",
    "advance",
    "bidirectional",
    "candidate_dropout",
    "clip",
    "dropout",
    "gradient_flow",
    "initializers",
    "learned_initial_state",
    "lstm_gates",
    "lstm_init",
    "lstm_step",
    "mask_of_lengths",
    "recurrent_dropout",
    "reset_after",
    "residual",
    "skip",
    "stack",
    "tbptt",
    "trace",
    "unroll",
    "weight_drop",
    "zoneout",
]
