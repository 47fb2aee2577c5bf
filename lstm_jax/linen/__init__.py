"""Layers for Flax linen: thin wrappers of any cell over `lstm_jax.unroll`.

>>> import jax, jax.numpy as jnp
>>> from lstm_jax.linen import LSTM
>>> layer, inputs = LSTM(features=5), jnp.ones((2, 7, 3))  # [batch, time, features]
>>> variables = layer.init(jax.random.key(0), inputs)
>>> layer.apply(variables, inputs).shape
(2, 7, 5)
"""

from lstm_jax.linen.cell import RNNCell
from lstm_jax.linen.drop_in import (
    ConvLSTMCell,
    GRUCell,
    LSTMCell,
    OptimizedLSTMCell,
    SimpleCell,
)
from lstm_jax.linen.layers import Bidirectional, Recurrent, SequenceLayer
from lstm_jax.linen.params import params_of, variables
from lstm_jax.linen.ready_made import GRU, LSTM, TanhRNN
from lstm_jax.linen.rnn import RNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "ConvLSTMCell",
    "GRUCell",
    "LSTMCell",
    "OptimizedLSTMCell",
    "RNNCell",
    "Recurrent",
    "SequenceLayer",
    "SimpleCell",
    "TanhRNN",
    "params_of",
    "variables",
]
