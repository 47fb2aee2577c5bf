"""The cells, one per file: equations, parameters, and the paper they come from."""

from lstm_jax.cells.conv_lstm import ConvLSTM, ConvLSTMParams
from lstm_jax.cells.coupled import CoupledLSTM, CoupledLSTMParams
from lstm_jax.cells.gru import GRU, GRUGates, GRUParams, GRUState
from lstm_jax.cells.layer_norm import LayerNormLSTM, LayerNormLSTMParams
from lstm_jax.cells.lstm import LSTM, LSTMGates, lstm_gates, lstm_init, lstm_step
from lstm_jax.cells.min_lstm import MinLSTM, MinLSTMGates, MinLSTMParams, MinLSTMState
from lstm_jax.cells.mlstm import MLSTM, MLSTMGates, MLSTMParams, MLSTMState
from lstm_jax.cells.original import OriginalLSTM, OriginalLSTMGates, OriginalLSTMParams
from lstm_jax.cells.peephole import PeepholeLSTM, PeepholeLSTMParams
from lstm_jax.cells.projected import ProjectedLSTM, ProjectedLSTMParams
from lstm_jax.cells.refined import RefinedLSTM, RefinedLSTMGates, RefinedLSTMParams
from lstm_jax.cells.slstm import SLSTM, SLSTMGates, SLSTMParams, SLSTMState
from lstm_jax.cells.tanh_rnn import TanhRNN, TanhRNNParams, TanhRNNState

__all__ = [
    "GRU",
    "LSTM",
    "MLSTM",
    "SLSTM",
    "ConvLSTM",
    "ConvLSTMParams",
    "CoupledLSTM",
    "CoupledLSTMParams",
    "GRUGates",
    "GRUParams",
    "GRUState",
    "LSTMGates",
    "LayerNormLSTM",
    "LayerNormLSTMParams",
    "MLSTMGates",
    "MLSTMParams",
    "MLSTMState",
    "MinLSTM",
    "MinLSTMGates",
    "MinLSTMParams",
    "MinLSTMState",
    "OriginalLSTM",
    "OriginalLSTMGates",
    "OriginalLSTMParams",
    "PeepholeLSTM",
    "PeepholeLSTMParams",
    "ProjectedLSTM",
    "ProjectedLSTMParams",
    "RefinedLSTM",
    "RefinedLSTMGates",
    "RefinedLSTMParams",
    "SLSTMGates",
    "SLSTMParams",
    "SLSTMState",
    "TanhRNN",
    "TanhRNNParams",
    "TanhRNNState",
    "lstm_gates",
    "lstm_init",
    "lstm_step",
]
