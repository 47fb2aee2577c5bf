"""Ways to run a cell over a sequence. The plain scan is the truth."""

from lstm_jax.kernels.scan import scan

__all__ = ["scan"]
