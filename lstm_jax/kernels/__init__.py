"""Ways to run a cell over a sequence. The plain scan is the truth."""

from lstm_jax.kernels.scan import compiled_scan, scan

__all__ = ["compiled_scan", "scan"]
