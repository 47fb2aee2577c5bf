"""Functions from cells to cells, one in each file, and what a transform of your own needs.

Each transform applies to any cell, the result of a transform included. `docs/your_own_transform.md`
explains how to write one.
"""

from lstm_jax.transforms.clip import clip
from lstm_jax.transforms.dropout import candidate_dropout, dropout, recurrent_dropout
from lstm_jax.transforms.learned_initial_state import LearnedParams, learned_initial_state
from lstm_jax.transforms.mapped import map_inputs, map_outputs
from lstm_jax.transforms.own_structure import own_params, own_state, restore_params
from lstm_jax.transforms.residual import residual, skip
from lstm_jax.transforms.sequence_call import SequenceCall
from lstm_jax.transforms.sizes import input_size, output_size, param_shapes
from lstm_jax.transforms.stack import stack
from lstm_jax.transforms.step_rng import StepRng, child_key, child_rng, drop, own_key
from lstm_jax.transforms.transform import (
    StateTransform,
    Transform,
    apply,
    gates,
    initial_state,
    output_of,
    sample_params,
    step,
)
from lstm_jax.transforms.weight_drop import weight_drop
from lstm_jax.transforms.wrap import check_is_cell, over_single_cells
from lstm_jax.transforms.zoneout import zoneout

__all__ = [
    "LearnedParams",
    "SequenceCall",
    "StateTransform",
    "StepRng",
    "Transform",
    "apply",
    "candidate_dropout",
    "check_is_cell",
    "child_key",
    "child_rng",
    "clip",
    "drop",
    "dropout",
    "gates",
    "initial_state",
    "input_size",
    "learned_initial_state",
    "map_inputs",
    "map_outputs",
    "output_of",
    "output_size",
    "over_single_cells",
    "own_key",
    "own_params",
    "own_state",
    "param_shapes",
    "recurrent_dropout",
    "residual",
    "restore_params",
    "sample_params",
    "skip",
    "stack",
    "step",
    "weight_drop",
    "zoneout",
]
