"""What every cell must hold, in one call, for those who write their own."""

from lstm_jax.testing.check import check_cell
from lstm_jax.testing.reference import quick_jit, reference_unroll, weighed, with_gradients

__all__ = ["check_cell", "quick_jit", "reference_unroll", "weighed", "with_gradients"]
