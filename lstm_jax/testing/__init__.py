"""What every cell must hold, in one call, for those who write their own."""

from lstm_jax.testing.check import check_cell
from lstm_jax.testing.loop import loop, quick_jit, weighed, with_gradients

__all__ = ["check_cell", "loop", "quick_jit", "weighed", "with_gradients"]
