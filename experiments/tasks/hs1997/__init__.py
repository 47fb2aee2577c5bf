"""The tasks of Hochreiter & Schmidhuber (1997), experiments 2 to 6, with their own generators.

Reference: Hochreiter & Schmidhuber (1997), *Long short-term memory*, section 5.
"""

from experiments.tasks.hs1997.adding import Adding1997
from experiments.tasks.hs1997.lag import Lag1997
from experiments.tasks.hs1997.multiplication import Multiplication1997
from experiments.tasks.hs1997.temporal_order import TemporalOrder1997
from experiments.tasks.hs1997.two_sequences import TwoSequences1997

__all__ = ["Adding1997", "Lag1997", "Multiplication1997", "TemporalOrder1997", "TwoSequences1997"]
