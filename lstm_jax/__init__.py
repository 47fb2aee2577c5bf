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
from lstm_jax.types import Cell, LSTMParams, LSTMState, Policy
from lstm_jax.unroll import unroll

__version__ = "0.1.0"

__all__ = [
    "LSTM",
    "Cell",
    "LSTMGates",
    "LSTMParams",
    "LSTMState",
    "Policy",
    "TanhRNN",
    "TanhRNNParams",
    "TanhRNNState",
    "Trace",
    "gradient_flow",
    "initializers",
    "lstm_gates",
    "lstm_init",
    "lstm_step",
    "trace",
    "unroll",
]
