"""Layers for Flax NNX: thin wrappers of any cell over `lstm_jax.unroll`.

>>> import jax.numpy as jnp
>>> from flax import nnx
>>> from lstm_jax.nnx import LSTM
>>> layer = LSTM(in_features=3, features=5, rngs=nnx.Rngs(0))
>>> layer(jnp.ones((2, 7, 3))).shape  # [batch, time, features]
(2, 7, 5)
>>> layer.kernel.shape, layer.params.bias.shape
((3, 20), (20,))
"""

from lstm_jax.nnx.cell import RNNCell
from lstm_jax.nnx.drop_in import GRUCell, LSTMCell, OptimizedLSTMCell, SimpleCell
from lstm_jax.nnx.layers import Bidirectional, Recurrent, SequenceLayer
from lstm_jax.nnx.ready_made import GRU, LSTM, TanhRNN
from lstm_jax.nnx.rnn import RNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "GRUCell",
    "LSTMCell",
    "OptimizedLSTMCell",
    "RNNCell",
    "Recurrent",
    "SequenceLayer",
    "SimpleCell",
    "TanhRNN",
]
