"""What every cell must hold, in one call, for those who write their own.

>>> import lstm_jax as lj
>>> check_cell(lj.TanhRNN(2, 3))
"""

from lstm_jax.testing.check import check_cell
from lstm_jax.testing.loop import loop, weighed

__all__ = ["check_cell", "loop", "weighed"]
