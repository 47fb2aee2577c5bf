"""Ways to run a cell over a sequence. The plain scan is the truth."""

from lstm_jax.backends.body import PADDINGS, Apply, Body, Carry, Emit, Inputs, Operands, Padding
from lstm_jax.backends.loop import scanned
from lstm_jax.backends.problem import Problem
from lstm_jax.backends.scan import Remat, in_chunks, scan
from lstm_jax.backends.select import (
    BACKENDS,
    IMPLEMENTATIONS,
    Choice,
    Implementation,
    choose,
    gains_from_sequence,
)

__all__ = [
    "BACKENDS",
    "IMPLEMENTATIONS",
    "PADDINGS",
    "Apply",
    "Body",
    "Carry",
    "Choice",
    "Emit",
    "Implementation",
    "Inputs",
    "Operands",
    "Padding",
    "Problem",
    "Remat",
    "choose",
    "gains_from_sequence",
    "in_chunks",
    "scan",
    "scanned",
]
