"""Ways to run a cell over a sequence. The plain scan is the truth."""

from lstm_jax.kernels.body import PADDINGS, Apply, Body, Carry, Emit, Inputs, Operands, Padding
from lstm_jax.kernels.parallel import parallel
from lstm_jax.kernels.scan import Remat, compiled_scan, scan

__all__ = [
    "PADDINGS",
    "Apply",
    "Body",
    "Carry",
    "Emit",
    "Inputs",
    "Operands",
    "Padding",
    "Remat",
    "compiled_scan",
    "parallel",
    "scan",
]
