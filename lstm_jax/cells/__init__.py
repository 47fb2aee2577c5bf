"""Recurrences, one a file: parameters, initialisation, step, equations, reference."""

from lstm_jax.cells.lstm import LSTM, LSTMGates, lstm_gates, lstm_init, lstm_step
from lstm_jax.cells.tanh_rnn import TanhRNN, TanhRNNParams, TanhRNNState

__all__ = [
    "LSTM",
    "LSTMGates",
    "TanhRNN",
    "TanhRNNParams",
    "TanhRNNState",
    "lstm_gates",
    "lstm_init",
    "lstm_step",
]
