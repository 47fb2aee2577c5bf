"""Functions from cells to cells, one kind a file. Any of them applies to what any of them gives."""

from lstm_jax.transforms.clip import clip
from lstm_jax.transforms.dropout import candidate_dropout, dropout, recurrent_dropout
from lstm_jax.transforms.initial_state import LearnedParams, learned_initial_state
from lstm_jax.transforms.residual import residual, skip
from lstm_jax.transforms.stack import stack
from lstm_jax.transforms.step_rng import StepRng
from lstm_jax.transforms.transform import StateTransform, Transform
from lstm_jax.transforms.weight_drop import weight_drop
from lstm_jax.transforms.zoneout import zoneout

__all__ = [
    "LearnedParams",
    "StateTransform",
    "StepRng",
    "Transform",
    "candidate_dropout",
    "clip",
    "dropout",
    "learned_initial_state",
    "recurrent_dropout",
    "residual",
    "skip",
    "stack",
    "weight_drop",
    "zoneout",
]
