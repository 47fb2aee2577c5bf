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
from lstm_jax.advance import advance
from lstm_jax.bidirectional import Directions, bidirectional
from lstm_jax.cells import (
    GRU,
    LSTM,
    MLSTM,
    SLSTM,
    ConvLSTM,
    ConvLSTMParams,
    CoupledLSTM,
    CoupledLSTMParams,
    GRUGates,
    GRUParams,
    GRUState,
    LayerNormLSTM,
    LayerNormLSTMParams,
    LSTMGates,
    MinLSTM,
    MinLSTMGates,
    MinLSTMParams,
    MinLSTMState,
    MLSTMGates,
    MLSTMParams,
    MLSTMState,
    OriginalLSTM,
    OriginalLSTMGates,
    OriginalLSTMParams,
    PeepholeLSTM,
    PeepholeLSTMParams,
    ProjectedLSTM,
    ProjectedLSTMParams,
    RefinedLSTM,
    RefinedLSTMGates,
    RefinedLSTMParams,
    SLSTMGates,
    SLSTMParams,
    SLSTMState,
    TanhRNN,
    TanhRNNParams,
    TanhRNNState,
    lstm_gates,
    lstm_init,
    lstm_step,
)
from lstm_jax.diagnostics import Trace, gradient_flow, trace
from lstm_jax.explain import Explanation, explain
from lstm_jax.masks import mask_of_lengths
from lstm_jax.options import Options
from lstm_jax.resets import resets_from_dones
from lstm_jax.tbptt import tbptt
from lstm_jax.transforms import (
    LearnedParams,
    StateTransform,
    StepRng,
    Transform,
    candidate_dropout,
    clip,
    dropout,
    learned_initial_state,
    recurrent_dropout,
    residual,
    restore_params,
    skip,
    stack,
    weight_drop,
    zoneout,
)
from lstm_jax.types import Cell, LSTMParams, LSTMState, Policy
from lstm_jax.unroll import unroll

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "MLSTM",
    "SLSTM",
    "Cell",
    "ConvLSTM",
    "ConvLSTMParams",
    "CoupledLSTM",
    "CoupledLSTMParams",
    "Directions",
    "Explanation",
    "GRUGates",
    "GRUParams",
    "GRUState",
    "LSTMGates",
    "LSTMParams",
    "LSTMState",
    "LayerNormLSTM",
    "LayerNormLSTMParams",
    "LearnedParams",
    "MLSTMGates",
    "MLSTMParams",
    "MLSTMState",
    "MinLSTM",
    "MinLSTMGates",
    "MinLSTMParams",
    "MinLSTMState",
    "Options",
    "OriginalLSTM",
    "OriginalLSTMGates",
    "OriginalLSTMParams",
    "PeepholeLSTM",
    "PeepholeLSTMParams",
    "Policy",
    "ProjectedLSTM",
    "ProjectedLSTMParams",
    "RefinedLSTM",
    "RefinedLSTMGates",
    "RefinedLSTMParams",
    "SLSTMGates",
    "SLSTMParams",
    "SLSTMState",
    "StateTransform",
    "StepRng",
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
    "explain",
    "gradient_flow",
    "initializers",
    "learned_initial_state",
    "lstm_gates",
    "lstm_init",
    "lstm_step",
    "mask_of_lengths",
    "recurrent_dropout",
    "resets_from_dones",
    "residual",
    "restore_params",
    "skip",
    "stack",
    "tbptt",
    "trace",
    "unroll",
    "weight_drop",
    "zoneout",
]
