"""Ways to run a cell over a sequence. The plain scan is the truth."""

from lstm_jax.kernels.body import PADDINGS, Apply, Body, Carry, Emit, Inputs, Operands, Padding
from lstm_jax.kernels.choose import (
    IMPLEMENTATIONS,
    KERNELS,
    Choice,
    Implementation,
    choose,
    gains_from_sequence,
)
from lstm_jax.kernels.loop import scanned
from lstm_jax.kernels.problem import Problem
from lstm_jax.kernels.scan import Remat, in_chunks, scan

__all__ = [
    "IMPLEMENTATIONS",
    "KERNELS",
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
