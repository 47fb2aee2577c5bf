"""Tests of a cell in one call, for those who write their own cells and transforms."""

from lstm_jax.testing.check import check_cell
from lstm_jax.testing.reference import quick_jit, reference_unroll, weighed, with_gradients

__all__ = ["check_cell", "quick_jit", "reference_unroll", "weighed", "with_gradients"]
