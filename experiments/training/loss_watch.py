"""A word about a loss that is finite, but absurd."""

import sys

import numpy as np

from experiments.training.lanes import Lanes

FAR_ABOVE = 1000
"""A loss so many times the first one is reported."""


class LossWatch:
    """Reports a lane, once, when its loss is far above where it was at first.

    Args:
      lanes: the lanes of the run.
    """

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._limits: np.ndarray | None = None

    def __call__(self, update: int, losses: list[float | None], first: np.ndarray) -> None:
        """Look at the losses of a record.

        Args:
          update: updates done.
          losses: a loss per lane, or None.
          first: the losses ``[N]`` before; those of the first call are the measure.
        """
        if self._limits is None:
            self._limits = FAR_ABOVE * np.abs(first)
        for lane, loss in enumerate(losses):
            if loss is not None and loss > self._limits[lane]:
                print(
                    f"{self._lanes.name(lane)}: the loss is {loss:.3g} at update {update}, more"
                    f" than {FAR_ABOVE:,} times what it was at first; a lower"
                    " optimizer.learning_rate may help",
                    file=sys.stderr,
                )
                self._limits[lane] = np.inf
